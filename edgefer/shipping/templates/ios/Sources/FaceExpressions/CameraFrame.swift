/// By how many degrees a frame has to be turned clockwise to be upright.
public enum Rotation: Int {
    case none = 0
    case right = 90
    case upsideDown = 180
    case left = 270
}

/// One plane of a camera's frame: its first pixel is at `start`; the strides are in bytes.
public struct Plane {
    public let bytes: [UInt8]
    public let start: Int
    public let rowStride: Int
    public let pixelStride: Int

    public init(bytes: [UInt8], start: Int = 0, rowStride: Int, pixelStride: Int) {
        self.bytes = bytes
        self.start = start
        self.rowStride = rowStride
        self.pixelStride = pixelStride
    }

    /// Returns the byte of the pixel at (`x`, `y`) of this plane.
    func at(_ x: Int, _ y: Int) -> Int {
        Int(bytes[start + y * rowStride + x * pixelStride])
    }
}

/// A frame as a camera gives it.
public struct CameraFrame {
    public enum Pixels {
        /// Full-range BT.601 with `u` and `v` of half the width and height, as in `420f`.
        case yuv(y: Plane, u: Plane, v: Plane)
        /// Blue, green, red and alpha of each pixel, one after the other.
        case bgra(Plane)
    }

    public let width: Int
    public let height: Int
    public let rotation: Rotation
    public let pixels: Pixels

    public init(width: Int, height: Int, rotation: Rotation, pixels: Pixels) {
        self.width = width
        self.height = height
        self.rotation = rotation
        self.pixels = pixels
    }

    /// Returns the frame as an upright RGB picture, in whole numbers.
    public func upright() -> Picture {
        let turned = rotation == .right || rotation == .left
        let uprightWidth = turned ? height : width
        var rgb = [UInt8](repeating: 0, count: width * height * 3)
        for row in 0..<height {
            for column in 0..<width {
                let (x, y) = turnedPosition(column: column, row: row)
                let index = 3 * (y * uprightWidth + x)
                let (red, green, blue) = colour(column, row)
                rgb[index] = red
                rgb[index + 1] = green
                rgb[index + 2] = blue
            }
        }
        return Picture(width: uprightWidth, height: turned ? width : height, bytes: rgb)
    }

    /// Returns where a pixel of the frame lies in the upright picture.
    private func turnedPosition(column: Int, row: Int) -> (x: Int, y: Int) {
        switch rotation {
        case .none: return (column, row)
        case .right: return (height - 1 - row, column)
        case .upsideDown: return (width - 1 - column, height - 1 - row)
        case .left: return (row, width - 1 - column)
        }
    }

    private func colour(_ column: Int, _ row: Int) -> (red: UInt8, green: UInt8, blue: UInt8) {
        switch pixels {
        case .yuv(let y, let u, let v):
            return fromYUV(
                luma: y.at(column, row),
                blueness: u.at(column / 2, row / 2) - 128,
                redness: v.at(column / 2, row / 2) - 128
            )
        case .bgra(let plane):
            let start = plane.start + row * plane.rowStride + column * plane.pixelStride
            return (plane.bytes[start + 2], plane.bytes[start + 1], plane.bytes[start])
        }
    }
}

/// Shifts round down, below zero too.
private func fromYUV(
    luma: Int, blueness: Int, redness: Int
) -> (red: UInt8, green: UInt8, blue: UInt8) {
    let red = luma + ((91881 * redness + 32768) >> 16)
    let green = luma - ((22554 * blueness + 46802 * redness + 32768) >> 16)
    let blue = luma + ((116130 * blueness + 32768) >> 16)
    return (UInt8(clamping: red), UInt8(clamping: green), UInt8(clamping: blue))
}
