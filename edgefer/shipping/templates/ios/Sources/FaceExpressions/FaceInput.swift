/// Returns the square that a face is cut out by, inside a picture of `width` × `height`.
///
/// Its side is 7/6 of the box's longer side and its centre 1/10 of that side above the box's, which
/// frames a face as the model's training pictures do. A square that would stick out is moved into
/// the picture; one that is too large shrinks to the picture's shorter side.
public func squareAround(_ box: Box, width: Int, height: Int) -> Box {
    let longer = max(box.width, box.height)
    let side = min(max(longer * 7 / 6, 1), width, height)
    // A shift by one halves and rounds down, below zero too.
    let left = ((box.left + box.right - side) >> 1).clamped(to: 0...width - side)
    let centred = (box.top + box.bottom - side) >> 1
    let top = (centred - longer / 10).clamped(to: 0...height - side)
    return Box(left: left, top: top, right: left + side, bottom: top + side)
}

/// Makes a model's input of a face, as its contract says.
struct FaceInput {
    private let contract: InputContract

    /// The bytes of each pixel value of each channel: all that normalising and quantizing give.
    private let encoded: [[[UInt8]]]

    init(_ contract: InputContract) {
        self.contract = contract
        encoded = (0..<contract.channels).map { channel -> [[UInt8]] in
            (0...255).map { pixel -> [UInt8] in
                let value = (Float(pixel) - contract.mean[channel]) / contract.std[channel]
                return contract.tensor.bytes(of: value)
            }
        }
    }

    /// Returns the input's bytes for one face, an RGB picture from border to border.
    func bytes(of face: Picture) -> [UInt8] {
        let coloured = contract.channels == 1 ? face.inGray() : face
        let pixels = coloured.resized(width: contract.size, height: contract.size)
        var input: [UInt8] = []
        input.reserveCapacity(pixels.bytes.count * contract.tensor.type.byteCount)
        for (index, pixel) in pixels.bytes.enumerated() {
            input.append(contentsOf: encoded[index % contract.channels][Int(pixel)])
        }
        return input
    }
}
