package edgefer.expressions

/** A rectangle of whole pixels; [right] and [bottom] are the first column and row outside of it. */
data class Box(val left: Int, val top: Int, val right: Int, val bottom: Int) {
    val width get() = right - left
    val height get() = bottom - top
}

/** Bytes of pixels, row by row: red, green and blue where [channels] is 3, gray where it is 1. */
class Picture(val width: Int, val height: Int, val channels: Int, val bytes: ByteArray) {
    init {
        require(width > 0 && height > 0) { "a picture of $width × $height pixels" }
        require(bytes.size == width * height * channels) {
            "${bytes.size} bytes for $width × $height pixels of $channels channels"
        }
    }

    /** Returns the part that lies in [box]. */
    fun cutOut(box: Box): Picture {
        val part = ByteArray(box.width * box.height * channels)
        for (row in 0 until box.height) {
            val from = ((box.top + row) * width + box.left) * channels
            bytes.copyInto(part, row * box.width * channels, from, from + box.width * channels)
        }
        return Picture(box.width, box.height, channels, part)
    }

    /** Returns an RGB picture in gray, by the weights 0.299, 0.587 and 0.114 in parts of 32768. */
    fun inGray(): Picture {
        val gray = ByteArray(width * height) { pixel ->
            val red = unsigned(3 * pixel)
            val green = unsigned(3 * pixel + 1)
            val blue = unsigned(3 * pixel + 2)
            ((9798 * red + 19235 * green + 3735 * blue + 16384) shr 15).toByte()
        }
        return Picture(width, height, 1, gray)
    }

    /** Returns the byte at [index] as 0…255. */
    fun unsigned(index: Int): Int = bytes[index].toInt() and 0xFF
}
