package edgefer.expressions

import java.nio.ByteBuffer

/** One plane of a camera's frame; the strides are in bytes. */
class Plane(val bytes: ByteBuffer, val rowStride: Int, val pixelStride: Int) {
    /** Returns the byte of the pixel at ([x], [y]) of this plane as 0…255. */
    fun at(x: Int, y: Int): Int = bytes.get(y * rowStride + x * pixelStride).toInt() and 0xFF
}

/**
 * A frame in YUV_420_888, the format of Android's cameras: full-range BT.601.
 *
 * [u] and [v] have half the width and height. [rotation] is by how many degrees, 0, 90, 180 or
 * 270, the frame has to be turned clockwise to be upright, as CameraX's `rotationDegrees` says it.
 */
class CameraFrame(
    val width: Int,
    val height: Int,
    val y: Plane,
    val u: Plane,
    val v: Plane,
    val rotation: Int,
) {
    /** Returns the frame as an upright RGB picture, in whole numbers; shifts round down. */
    fun upright(): Picture {
        require(rotation in listOf(0, 90, 180, 270)) { "a rotation of $rotation degrees" }
        val turned = rotation == 90 || rotation == 270
        val (uprightWidth, uprightHeight) = if (turned) height to width else width to height
        val rgb = ByteArray(width * height * 3)
        for (row in 0 until height) {
            for (column in 0 until width) {
                val pixel = when (rotation) {
                    0 -> row * uprightWidth + column
                    90 -> column * uprightWidth + (height - 1 - row)
                    180 -> (height - 1 - row) * uprightWidth + (width - 1 - column)
                    else -> (width - 1 - column) * uprightWidth + row
                }
                putColour(column, row, rgb, 3 * pixel)
            }
        }
        return Picture(uprightWidth, uprightHeight, 3, rgb)
    }

    private fun putColour(column: Int, row: Int, rgb: ByteArray, index: Int) {
        val luma = y.at(column, row)
        val blueness = u.at(column / 2, row / 2) - 128
        val redness = v.at(column / 2, row / 2) - 128
        rgb[index] = colour(luma + ((91881 * redness + 32768) shr 16))
        rgb[index + 1] = colour(luma - ((22554 * blueness + 46802 * redness + 32768) shr 16))
        rgb[index + 2] = colour(luma + ((116130 * blueness + 32768) shr 16))
    }

    private fun colour(value: Int): Byte = value.coerceIn(0, 255).toByte()
}
