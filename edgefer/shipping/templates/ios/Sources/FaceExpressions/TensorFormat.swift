/// The types that an input or output has.
public enum TensorType: String, Decodable {
    case int8
    case uint8
    case int16
    case float32

    public var byteCount: Int {
        switch self {
        case .int8, .uint8: return 1
        case .int16: return 2
        case .float32: return 4
        }
    }
}

/// How a tensor's numbers lie in memory, little endian.
///
/// Where the type is an integer, q stands for `scale` · (q − `zeroPoint`).
public struct TensorFormat: Decodable {
    public let type: TensorType
    public let scale: Float
    public let zeroPoint: Int

    enum CodingKeys: String, CodingKey {
        case type
        case scale
        case zeroPoint = "zero_point"
    }

    /// Returns the bytes of a real number, quantized to the nearest step where that is the type.
    func bytes(of value: Float) -> [UInt8] {
        switch type {
        case .int8: return littleEndian(Int8(step(value, -128...127)))
        case .uint8: return littleEndian(UInt8(step(value, 0...255)))
        case .int16: return littleEndian(Int16(step(value, -32768...32767)))
        case .float32: return littleEndian(value.bitPattern)
        }
    }

    /// Returns the real numbers that the bytes of a tensor stand for.
    func values(of bytes: [UInt8]) -> [Float] {
        stride(from: 0, to: bytes.count, by: type.byteCount).map { start -> Float in
            switch type {
            case .int8: return real(Int(loaded(Int8.self, from: bytes, at: start)))
            case .uint8: return real(Int(bytes[start]))
            case .int16: return real(Int(loaded(Int16.self, from: bytes, at: start)))
            case .float32:
                return Float(bitPattern: loaded(UInt32.self, from: bytes, at: start))
            }
        }
    }

    private func real(_ step: Int) -> Float { Float(step - zeroPoint) * scale }

    /// Ties go up, so that an input of −1…1 gets pixel − 128; 0.001 takes up the float's error.
    private func step(_ value: Float, _ range: ClosedRange<Float>) -> Int {
        Int(((value / scale + 0.501).rounded(.down) + Float(zeroPoint)).clamped(to: range))
    }
}

private func littleEndian<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { [UInt8]($0) }
}

private func loaded<Value: FixedWidthInteger>(
    _ type: Value.Type, from bytes: [UInt8], at start: Int
) -> Value {
    bytes.withUnsafeBytes {
        Value(littleEndian: $0.loadUnaligned(fromByteOffset: start, as: type))
    }
}
