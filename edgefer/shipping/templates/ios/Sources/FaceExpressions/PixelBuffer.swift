#if canImport(CoreVideo)
import CoreVideo

extension CameraFrame {
    /// Copies a camera's buffer in `32BGRA` or `420f`; throws a `BundleError` for other formats.
    ///
    /// Ask the camera for `kCVPixelFormatType_32BGRA`: its colours need no conversion here.
    public init(_ buffer: CVPixelBuffer, rotation: Rotation) throws {
        CVPixelBufferLockBaseAddress(buffer, .readOnly)
        defer { CVPixelBufferUnlockBaseAddress(buffer, .readOnly) }
        self.init(
            width: CVPixelBufferGetWidth(buffer),
            height: CVPixelBufferGetHeight(buffer),
            rotation: rotation,
            pixels: try copiedPixels(buffer)
        )
    }
}

private func copiedPixels(_ buffer: CVPixelBuffer) throws -> CameraFrame.Pixels {
    switch CVPixelBufferGetPixelFormatType(buffer) {
    case kCVPixelFormatType_32BGRA:
        let rowStride = CVPixelBufferGetBytesPerRow(buffer)
        let bytes = try copied(
            CVPixelBufferGetBaseAddress(buffer), rowStride * CVPixelBufferGetHeight(buffer))
        return .bgra(Plane(bytes: bytes, rowStride: rowStride, pixelStride: 4))
    case kCVPixelFormatType_420YpCbCr8BiPlanarFullRange:
        try requireBT601(buffer)
        let (luma, lumaStride) = try copiedPlane(buffer, 0)
        let (chroma, chromaStride) = try copiedPlane(buffer, 1)
        return .yuv(
            y: Plane(bytes: luma, rowStride: lumaStride, pixelStride: 1),
            u: Plane(bytes: chroma, rowStride: chromaStride, pixelStride: 2),
            v: Plane(bytes: chroma, start: 1, rowStride: chromaStride, pixelStride: 2)
        )
    default:
        throw BundleError("the frame is neither 32BGRA nor 420f: set the camera's videoSettings")
    }
}

/// HD cameras may give BT.709, whose colours this conversion would get slightly wrong.
private func requireBT601(_ buffer: CVPixelBuffer) throws {
    let matrix = CVBufferCopyAttachment(buffer, kCVImageBufferYCbCrMatrixKey, nil) as? String
    guard matrix == nil || matrix == kCVImageBufferYCbCrMatrix_ITU_R_601_4 as String else {
        throw BundleError("the frame's colours are not BT.601: ask the camera for 32BGRA")
    }
}

private func copiedPlane(_ buffer: CVPixelBuffer, _ index: Int) throws -> ([UInt8], Int) {
    let rowStride = CVPixelBufferGetBytesPerRowOfPlane(buffer, index)
    let bytes = try copied(
        CVPixelBufferGetBaseAddressOfPlane(buffer, index),
        rowStride * CVPixelBufferGetHeightOfPlane(buffer, index)
    )
    return (bytes, rowStride)
}

private func copied(_ address: UnsafeMutableRawPointer?, _ count: Int) throws -> [UInt8] {
    guard let address else { throw BundleError("the frame has no memory that can be read") }
    return [UInt8](UnsafeRawBufferPointer(start: address, count: count))
}
#endif
