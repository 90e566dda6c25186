import Foundation
import XCTest

@testable import FaceExpressions

/// The golden files of this bundle: pictures, and what has to come out of each step.
struct Golden: Decodable {
    struct Answer: Decodable {
        let input: String
        let output: String
        let label: String
        let probabilities: [Float]
    }

    struct GoldenFace: Decodable {
        let name: String
        let picture: GoldenPicture
        let answer: Answer

        init(from decoder: Decoder) throws {
            name = try decoder.container(keyedBy: NameKey.self).decode(String.self, forKey: .name)
            picture = try GoldenPicture(from: decoder)
            answer = try Answer(from: decoder)
        }
    }

    struct SceneFace: Decodable {
        let box: [Int]
        let square: [Int]
        let answer: Answer

        enum CodingKeys: String, CodingKey {
            case box
            case square
        }

        init(from decoder: Decoder) throws {
            let values = try decoder.container(keyedBy: CodingKeys.self)
            box = try values.decode([Int].self, forKey: .box)
            square = try values.decode([Int].self, forKey: .square)
            answer = try Answer(from: decoder)
        }
    }

    struct GoldenScene: Decodable {
        let faces: [SceneFace]
        let picture: GoldenPicture

        enum CodingKeys: String, CodingKey {
            case faces
        }

        init(from decoder: Decoder) throws {
            let values = try decoder.container(keyedBy: CodingKeys.self)
            faces = try values.decode([SceneFace].self, forKey: .faces)
            picture = try GoldenPicture(from: decoder)
        }
    }

    struct GoldenPicture: Decodable {
        let picture: String
        let width: Int
        let height: Int

        func read() throws -> Picture {
            Picture(width: width, height: height, bytes: try Golden.bytes(picture))
        }
    }

    struct GoldenPlane: Decodable {
        let file: String
        let rowStride: Int
        let pixelStride: Int

        enum CodingKeys: String, CodingKey {
            case file
            case rowStride = "row_stride"
            case pixelStride = "pixel_stride"
        }

        func read() throws -> Plane {
            Plane(
                bytes: try Golden.bytes(file), rowStride: rowStride, pixelStride: pixelStride)
        }
    }

    struct GoldenFrame: Decodable {
        let name: String
        let width: Int
        let height: Int
        let rotation: Int
        let planes: [GoldenPlane]?
        let file: String?
        let rowStride: Int?
        let upright: String
        let uprightWidth: Int
        let uprightHeight: Int

        enum CodingKeys: String, CodingKey {
            case name
            case width
            case height
            case rotation
            case planes
            case file
            case rowStride = "row_stride"
            case upright
            case uprightWidth = "upright_width"
            case uprightHeight = "upright_height"
        }

        func read() throws -> CameraFrame {
            let turn = try XCTUnwrap(Rotation(rawValue: rotation))
            return CameraFrame(width: width, height: height, rotation: turn, pixels: try pixels())
        }

        private func pixels() throws -> CameraFrame.Pixels {
            if let planes = try planes?.map({ try $0.read() }) {
                return .yuv(y: planes[0], u: planes[1], v: planes[2])
            }
            let bytes = try Golden.bytes(XCTUnwrap(file))
            return .bgra(Plane(bytes: bytes, rowStride: try XCTUnwrap(rowStride), pixelStride: 4))
        }
    }

    private enum NameKey: String, CodingKey {
        case name
    }

    let tolerance: Float
    let faces: [GoldenFace]
    let scenes: [GoldenScene]
    let frames: [GoldenFrame]

    static func read() throws -> Golden {
        try JSONDecoder().decode(Golden.self, from: Data(bytes("golden.json")))
    }

    static func bytes(_ name: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: bundle.appendingPathComponent("golden/\(name)")))
    }

    /// The bundle's folder, three levels above this file.
    static let bundle = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
}

/// A box of golden.json, which lists left, top, right and bottom.
func box(_ corners: [Int]) -> Box {
    Box(left: corners[0], top: corners[1], right: corners[2], bottom: corners[3])
}
