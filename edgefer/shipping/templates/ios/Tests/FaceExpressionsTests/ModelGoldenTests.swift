#if canImport(LiteRT)
import XCTest

@testable import FaceExpressions

/// The model and the face detector in LiteRT, against the golden files.
final class ModelGoldenTests: XCTestCase {
    private let recogniser = Result {
        try ExpressionRecogniser(modelFolder: Golden.bundle.appendingPathComponent("model"))
    }

    func testAFaceGetsTheSameProbabilities() throws {
        let golden = try Golden.read()
        for face in golden.faces {
            let expression = try recogniser.get().expression(of: face.picture.read())
            assertSame(expression, face.answer, golden.tolerance)
        }
    }

    func testTheSameFacesAreFoundInAScene() throws {
        let golden = try Golden.read()
        for scene in golden.scenes {
            let picture = try scene.picture.read()
            let faces = try recogniser.get().recognise(picture)
            XCTAssertEqual(faces.count, scene.faces.count)
            for (face, expected) in zip(faces, scene.faces) {
                assertNear(face.box, expected.box)
                let crop = picture.cutOut(box(expected.square))
                let expression = try recogniser.get().expression(of: crop)
                assertSame(expression, expected.answer, golden.tolerance)
            }
        }
    }

    private func assertSame(
        _ expression: FaceExpression, _ expected: Golden.Answer, _ tolerance: Float
    ) {
        for (one, other) in zip(expression.probabilities, expected.probabilities) {
            XCTAssertEqual(one, other, accuracy: tolerance + 1e-6)
        }
    }

    private func assertNear(_ box: Box, _ expected: [Int]) {
        for (one, other) in zip([box.left, box.top, box.right, box.bottom], expected) {
            XCTAssertLessThanOrEqual(abs(one - other), 1, "\(box) instead of \(expected)")
        }
    }
}
#endif
