package edgefer.expressions

import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * Returns the square that a face is cut out by, inside a picture of [width] × [height].
 *
 * Its side is 7/6 of the box's longer side and its centre 1/10 of that side above the box's, which
 * frames a face as the model's training pictures do. A square that would stick out is moved into
 * the picture; one that is too large shrinks to the picture's shorter side.
 */
fun squareAround(box: Box, width: Int, height: Int): Box {
    val longer = maxOf(box.width, box.height)
    val side = minOf(maxOf(longer * 7 / 6, 1), width, height)
    val left = Math.floorDiv(box.left + box.right - side, 2).coerceIn(0, width - side)
    val centred = Math.floorDiv(box.top + box.bottom - side, 2)
    val top = (centred - longer / 10).coerceIn(0, height - side)
    return Box(left, top, left + side, top + side)
}

/** Makes a model's input of a face, as its contract says. */
class FaceInput(private val contract: InputContract) {
    /** The bytes of each pixel value of each channel: all that normalising and quantizing give. */
    private val encoded = List(contract.channels) { channel ->
        (0..255).map { pixel ->
            val value = (pixel - contract.mean[channel]) / contract.std[channel]
            val bytes = ByteBuffer.allocate(contract.tensor.type.byteCount)
            contract.tensor.put(value, bytes.order(ByteOrder.LITTLE_ENDIAN))
            bytes.array()
        }
    }

    /** Returns the input's bytes for one face, an RGB picture from border to border. */
    fun of(face: Picture): ByteBuffer {
        val coloured = if (contract.channels == 1) face.inGray() else face
        val pixels = coloured.resized(contract.size, contract.size)
        val input = directBuffer(pixels.bytes.size * contract.tensor.type.byteCount)
        for (index in pixels.bytes.indices) {
            input.put(encoded[index % contract.channels][pixels.unsigned(index)])
        }
        input.rewind()
        return input
    }
}
