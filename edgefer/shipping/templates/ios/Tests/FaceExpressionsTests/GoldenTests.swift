import Foundation
import XCTest

@testable import FaceExpressions

/// All of the arithmetic against the golden files, bit for bit; runs without a device.
final class GoldenTests: XCTestCase {
    private let golden = Result { try Golden.read() }
    private let contract = Result { () throws -> Contract in
        let file = Golden.bundle.appendingPathComponent("model/contract.json")
        return try Contract(json: Data(contentsOf: file))
    }

    func testAFaceBecomesExactlyTheBytesThatTheModelIsFed() throws {
        let input = FaceInput(try contract.get().input)
        for face in try golden.get().faces {
            let bytes = input.bytes(of: try face.picture.read())
            XCTAssertEqual(bytes, try Golden.bytes(face.answer.input), face.name)
        }
    }

    func testAFaceIsCutOutOfItsSceneByTheSameSquare() throws {
        let input = FaceInput(try contract.get().input)
        for scene in try golden.get().scenes {
            let picture = try scene.picture.read()
            for face in scene.faces {
                let square = squareAround(
                    box(face.box), width: picture.width, height: picture.height)
                XCTAssertEqual(square, box(face.square))
                let bytes = input.bytes(of: picture.cutOut(square))
                XCTAssertEqual(bytes, try Golden.bytes(face.answer.input))
            }
        }
    }

    func testACamerasFrameBecomesExactlyTheSameUprightPicture() throws {
        for frame in try golden.get().frames {
            let picture = try frame.read().upright()
            XCTAssertEqual(picture.width, frame.uprightWidth, frame.name)
            XCTAssertEqual(picture.height, frame.uprightHeight, frame.name)
            XCTAssertEqual(picture.bytes, try Golden.bytes(frame.upright), frame.name)
        }
    }

    func testTheModelsOutputBecomesTheSameProbabilitiesAndLabel() throws {
        for answer in try golden.get().faces.map(\.answer) {
            let expression = try contract.get().expression(of: Golden.bytes(answer.output))
            XCTAssertEqual(expression.label, answer.label)
            XCTAssertEqual(expression.probabilities.count, answer.probabilities.count)
            for (one, other) in zip(expression.probabilities, answer.probabilities) {
                XCTAssertEqual(one, other, accuracy: 1e-6)
            }
        }
    }
}
