/// A face's box in a picture, and how sure the detector is, 0…1.
public struct FoundFace {
    public let box: Box
    public let score: Float
}

/// Finds the faces of a picture with BlazeFace.
///
/// A face narrower than about a tenth of the picture's longer side is often missed.
public struct FaceDetector {
    fileprivate static let format = TensorFormat(type: .float32, scale: 0, zeroPoint: 0)
    private let network: any Network

    public init(_ network: any Network) { self.network = network }

    /// Returns the faces of an RGB picture, from left to right.
    public func find(_ picture: Picture) throws -> [FoundFace] {
        let outputs = try network.run(detectorInput(picture)).map { Self.format.values(of: $0) }
        guard
            let logits = outputs.first(where: { $0.count == BlazeFace.anchorCount }),
            let regressors = outputs.first(where: {
                $0.count == BlazeFace.anchorCount * BlazeFace.numbers
            })
        else { throw BundleError("face-detector.tflite is not the one of this bundle") }
        return BlazeFace.decode(regressors: regressors, logits: logits)
            .map { FoundFace(box: inPicture($0, picture), score: $0.score) }
            .filter { $0.box.width > 0 && $0.box.height > 0 }
            .sorted { ($0.box.left, $0.box.top) < ($1.box.left, $1.box.top) }
    }
}

/// Fits a picture into the detector's square with its proportions, black around it, as −1…1.
func detectorInput(_ picture: Picture) -> [UInt8] {
    let size = BlazeFace.inputSize
    let (columns, rows) = fittedSize(picture)
    let fitted = picture.resized(width: columns, height: rows)
    let left = (size - columns) / 2
    let top = (size - rows) / 2
    let format = FaceDetector.format
    let encoded = (0...255).map { format.bytes(of: Float($0) / 127.5 - 1) }
    var input: [UInt8] = []
    input.reserveCapacity(size * size * 3 * format.type.byteCount)
    for row in -top..<size - top {
        for column in -left..<size - left {
            let inside = (0..<rows).contains(row) && (0..<columns).contains(column)
            for channel in 0..<3 {
                let pixel = inside ? fitted.bytes[(row * columns + column) * 3 + channel] : 0
                input.append(contentsOf: encoded[Int(pixel)])
            }
        }
    }
    return input
}

/// Returns the columns and rows that a picture has in the detector's input.
private func fittedSize(_ picture: Picture) -> (columns: Int, rows: Int) {
    let longer = max(picture.width, picture.height)
    let fitted = { (side: Int) in max(1, (side * BlazeFace.inputSize + longer / 2) / longer) }
    return (fitted(picture.width), fitted(picture.height))
}

/// Returns a detection's box in whole pixels of the picture, cut off at its border.
private func inPicture(_ detection: Detection, _ picture: Picture) -> Box {
    let size = BlazeFace.inputSize
    let (columns, rows) = fittedSize(picture)
    let scaled = { (value: Double, fitted: Int, length: Int) -> Int in
        let inside = value * Double(size) - Double((size - fitted) / 2)
        let pixels = inside * Double(length) / Double(fitted)
        return Int((pixels + 0.5).rounded(.down).clamped(to: 0...Double(length)))
    }
    return Box(
        left: scaled(detection.left, columns, picture.width),
        top: scaled(detection.top, rows, picture.height),
        right: scaled(detection.right, columns, picture.width),
        bottom: scaled(detection.bottom, rows, picture.height)
    )
}
