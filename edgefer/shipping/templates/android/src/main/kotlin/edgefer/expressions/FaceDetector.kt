package edgefer.expressions

import java.nio.ByteBuffer
import kotlin.math.floor

/** A face's box in a picture, and how sure the detector is, 0…1. */
class FoundFace(val box: Box, val score: Float)

/**
 * Finds the faces of a picture with BlazeFace.
 *
 * A face narrower than about a tenth of the picture's longer side is often missed.
 */
class FaceDetector(private val network: Network) {
    /** Returns the faces of an RGB picture, from left to right. */
    fun find(picture: Picture): List<FoundFace> {
        val outputs = network.run(detectorInput(picture))
        val regressors = outputs.ofSize(BlazeFace.ANCHORS * BlazeFace.NUMBERS)
        val logits = outputs.ofSize(BlazeFace.ANCHORS)
        return BlazeFace.decode(regressors, logits)
            .map { FoundFace(inPicture(it, picture.width, picture.height), it.score) }
            .filter { it.box.width > 0 && it.box.height > 0 }
            .sortedWith(compareBy({ it.box.left }, { it.box.top }))
    }

    private fun List<ByteBuffer>.ofSize(numbers: Int) =
        first { it.remaining() == numbers * Float.SIZE_BYTES }.asFloatBuffer()
}

/** Fits a picture into the detector's square with its proportions, black around it, as −1…1. */
fun detectorInput(picture: Picture): ByteBuffer {
    val size = BlazeFace.INPUT_SIZE
    val (columns, rows) = fittedSize(picture.width, picture.height)
    val fitted = picture.resized(columns, rows)
    val left = (size - columns) / 2
    val top = (size - rows) / 2
    val input = directBuffer(size * size * 3 * Float.SIZE_BYTES)
    for (row in 0 until size) {
        for (column in 0 until size) {
            val inside = column - left in 0 until columns && row - top in 0 until rows
            for (channel in 0 until 3) {
                val index = ((row - top) * columns + column - left) * 3 + channel
                val pixel = if (inside) fitted.unsigned(index) else 0
                input.putFloat(pixel / 127.5f - 1)
            }
        }
    }
    input.rewind()
    return input
}

/** Returns the columns and rows that a picture has in the detector's input. */
private fun fittedSize(width: Int, height: Int): Pair<Int, Int> {
    val longer = maxOf(width, height)
    fun fitted(side: Int) = maxOf(1, (side * BlazeFace.INPUT_SIZE + longer / 2) / longer)
    return fitted(width) to fitted(height)
}

/** Returns a detection's box in whole pixels of the picture, cut off at its border. */
private fun inPicture(detection: Detection, width: Int, height: Int): Box {
    val size = BlazeFace.INPUT_SIZE
    val (columns, rows) = fittedSize(width, height)
    fun scaled(value: Double, fitted: Int, length: Int): Int {
        val pixels = (value * size - (size - fitted) / 2) * length / fitted
        return floor(pixels + 0.5).toInt().coerceIn(0, length)
    }
    return Box(
        left = scaled(detection.left, columns, width),
        top = scaled(detection.top, rows, height),
        right = scaled(detection.right, columns, width),
        bottom = scaled(detection.bottom, rows, height),
    )
}
