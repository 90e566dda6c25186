import Foundation

/// A face in the network's input, whose sides are 1; `score` is 0…1.
struct Detection {
    let left: Double
    let top: Double
    let right: Double
    let bottom: Double
    let score: Float

    var area: Double { (right - left) * (bottom - top) }

    var isUsable: Bool {
        [left, top, right, bottom].allSatisfy(\.isFinite) && left < right && top < bottom
    }

    /// Returns intersection over union.
    func overlap(_ other: Detection) -> Double {
        let width = min(right, other.right) - max(left, other.left)
        let height = min(bottom, other.bottom) - max(top, other.top)
        let shared = max(width, 0) * max(height, 0)
        return shared / (area + other.area - shared)
    }
}

/// What the outputs of MediaPipe's BlazeFace mean: its anchors, its boxes, and one answer a face.
///
/// After Bazarevsky et al., BlazeFace (arXiv 1907.05047), and the options MediaPipe publishes.
enum BlazeFace {
    static let inputSize = 256
    static let anchorCount = 896

    /// How many numbers a box has: its centre, its size, and six points, which are not used.
    static let numbers = 16

    private static let leastScore: Float = 0.5
    private static let sameFaceOverlap = 0.3
    private static let largestLogit: Float = 80

    /// Cells along each side, and anchors in each cell.
    private static let grids = [(cells: 16, repeats: 2), (cells: 8, repeats: 6)]

    /// The anchors' centres, row by row, for an input whose sides are 1.
    private static let anchors: [(x: Double, y: Double)] = grids.flatMap { grid in
        (0..<grid.cells * grid.cells * grid.repeats).map { index -> (x: Double, y: Double) in
            let cell = index / grid.repeats
            let side = Double(grid.cells)
            let x = (Double(cell % grid.cells) + 0.5) / side
            let y = (Double(cell / grid.cells) + 0.5) / side
            return (x, y)
        }
    }

    /// Returns the faces, the surest first.
    static func decode(regressors: [Float], logits: [Float]) -> [Detection] {
        let found = (0..<anchorCount).compactMap { anchor -> Detection? in
            let logit = logits[anchor].clamped(to: -largestLogit...largestLogit)
            let score = 1 / (1 + exp(-logit))
            let detection = box(regressors, anchor, score: score)
            return score >= leastScore && detection.isUsable ? detection : nil
        }
        return oneAFace(found.sorted { $0.score > $1.score })
    }

    private static func box(_ regressors: [Float], _ anchor: Int, score: Float) -> Detection {
        let number = { (index: Int) -> Double in
            Double(regressors[anchor * numbers + index]) / Double(inputSize)
        }
        let x = number(0) + anchors[anchor].x
        let y = number(1) + anchors[anchor].y
        let halfWidth = number(2) / 2
        let halfHeight = number(3) / 2
        return Detection(
            left: x - halfWidth,
            top: y - halfHeight,
            right: x + halfWidth,
            bottom: y + halfHeight,
            score: score
        )
    }

    /// Blends the boxes that overlap the surest one, weighted by score, until none is left.
    private static func oneAFace(_ detections: [Detection]) -> [Detection] {
        var faces: [Detection] = []
        var left = detections
        while let surest = left.first {
            let same = left.filter { surest.overlap($0) > sameFaceOverlap }
            left = left.filter { surest.overlap($0) <= sameFaceOverlap }
            faces.append(blended(same, score: surest.score))
        }
        return faces
    }

    private static func blended(_ same: [Detection], score: Float) -> Detection {
        let weights = same.reduce(0) { $0 + Double($1.score) }
        let mean = { (side: KeyPath<Detection, Double>) -> Double in
            same.reduce(0) { $0 + Double($1.score) * $1[keyPath: side] } / weights
        }
        return Detection(
            left: mean(\.left),
            top: mean(\.top),
            right: mean(\.right),
            bottom: mean(\.bottom),
            score: score
        )
    }
}
