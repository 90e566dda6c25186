/// A rectangle of whole pixels; `right` and `bottom` are the first column and row outside of it.
public struct Box: Equatable {
    public let left: Int
    public let top: Int
    public let right: Int
    public let bottom: Int

    public init(left: Int, top: Int, right: Int, bottom: Int) {
        self.left = left
        self.top = top
        self.right = right
        self.bottom = bottom
    }

    public var width: Int { right - left }
    public var height: Int { bottom - top }
}

/// Bytes of pixels, row by row: red, green and blue where `channels` is 3, gray where it is 1.
public struct Picture {
    public let width: Int
    public let height: Int
    public let channels: Int
    public let bytes: [UInt8]

    public init(width: Int, height: Int, channels: Int = 3, bytes: [UInt8]) {
        precondition(width > 0 && height > 0, "a picture of \(width) × \(height) pixels")
        precondition(bytes.count == width * height * channels, "a picture of \(bytes.count) bytes")
        self.width = width
        self.height = height
        self.channels = channels
        self.bytes = bytes
    }

    /// Returns the part that lies in `box`.
    public func cutOut(_ box: Box) -> Picture {
        var part: [UInt8] = []
        part.reserveCapacity(box.width * box.height * channels)
        for row in box.top..<box.bottom {
            let start = (row * width + box.left) * channels
            part.append(contentsOf: bytes[start..<start + box.width * channels])
        }
        return Picture(width: box.width, height: box.height, channels: channels, bytes: part)
    }

    /// Returns an RGB picture in gray, by the weights 0.299, 0.587 and 0.114 in parts of 32768.
    func inGray() -> Picture {
        let gray = (0..<width * height).map { pixel -> UInt8 in
            let red = 9798 * Int(bytes[3 * pixel])
            let green = 19235 * Int(bytes[3 * pixel + 1])
            let blue = 3735 * Int(bytes[3 * pixel + 2])
            return UInt8((red + green + blue + 16384) >> 15)
        }
        return Picture(width: width, height: height, channels: 1, bytes: gray)
    }
}
