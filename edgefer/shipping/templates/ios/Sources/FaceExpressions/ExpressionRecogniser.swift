/// A model that runs: its input's bytes in, each output's bytes out, little endian.
public protocol Network {
    func run(_ input: [UInt8]) throws -> [[UInt8]]
}

/// A face that was found: its `box`, the `square` that the model saw, and its `expression`.
public struct Face {
    public let box: Box
    public let square: Box
    public let score: Float
    public let expression: FaceExpression
}

/// Finds faces and names their expressions; not for several threads at a time.
public struct ExpressionRecogniser {
    private let contract: Contract
    private let classifier: any Network
    private let detector: FaceDetector
    private let faceInput: FaceInput

    public init(contract: Contract, classifier: any Network, detector: any Network) {
        self.contract = contract
        self.classifier = classifier
        self.detector = FaceDetector(detector)
        faceInput = FaceInput(contract.input)
    }

    /// Returns the faces of an upright RGB picture, from left to right.
    public func recognise(_ picture: Picture) throws -> [Face] {
        try detector.find(picture).map { found -> Face in
            let square = squareAround(found.box, width: picture.width, height: picture.height)
            return Face(
                box: found.box,
                square: square,
                score: found.score,
                expression: try expression(of: picture.cutOut(square))
            )
        }
    }

    /// Returns the expression of a picture that is one face from border to border.
    public func expression(of face: Picture) throws -> FaceExpression {
        let outputs = try classifier.run(faceInput.bytes(of: face))
        guard outputs.count == 1 else { throw BundleError("the model has more than one output") }
        return try contract.expression(of: outputs[0])
    }
}
