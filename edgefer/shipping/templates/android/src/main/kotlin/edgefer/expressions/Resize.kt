package edgefer.expressions

import kotlin.math.floor
import kotlin.math.round

/** The sum of the two weights by which neighbouring pixels are blended. */
private const val ONE = 2048

/** Two source positions along an axis, and the weights by which they make a target position. */
private class Blend(val first: Int, val second: Int, val firstWeight: Int, val secondWeight: Int)

/**
 * Returns the picture stretched to another size, bilinearly and in whole numbers.
 *
 * Bit for bit what OpenCV's INTER_LINEAR does, with which the model's accuracy was measured.
 */
fun Picture.resized(toWidth: Int, toHeight: Int): Picture {
    if (toWidth == width && toHeight == height) return this
    val columns = List(toWidth) { columnBlend(it, width, toWidth) }
    val result = ByteArray(toWidth * toHeight * channels)
    var position = 0
    for (row in 0 until toHeight) {
        val blend = rowBlend(row, height, toHeight)
        val upper = stretchedRow(blend.first, columns)
        val lower = stretchedRow(blend.second, columns)
        for (index in upper.indices) {
            val fromUpper = (blend.firstWeight * (upper[index] shr 4)) shr 16
            val fromLower = (blend.secondWeight * (lower[index] shr 4)) shr 16
            result[position++] = ((fromUpper + fromLower + 2) shr 2).toByte()
        }
    }
    return Picture(toWidth, toHeight, channels, result)
}

private fun Picture.stretchedRow(row: Int, columns: List<Blend>): IntArray {
    val start = row * width * channels
    val stretched = IntArray(columns.size * channels)
    var position = 0
    for (blend in columns) {
        for (channel in 0 until channels) {
            val first = unsigned(start + blend.first * channels + channel)
            val second = unsigned(start + blend.second * channels + channel)
            stretched[position++] = blend.firstWeight * first + blend.secondWeight * second
        }
    }
    return stretched
}

/** At the left and right border, a column is the nearest one alone. */
private fun columnBlend(target: Int, source: Int, size: Int): Blend {
    val blend = blend(target, source, size)
    val last = source - 1
    return when {
        blend.first < 0 -> Blend(0, 0, ONE, 0)
        blend.first >= last -> Blend(last, last, ONE, 0)
        else -> blend
    }
}

/** At the upper and lower border, the weights stay, and both rows are the nearest one. */
private fun rowBlend(target: Int, source: Int, size: Int): Blend {
    val blend = blend(target, source, size)
    return Blend(
        blend.first.coerceIn(0, source - 1),
        blend.second.coerceIn(0, source - 1),
        blend.firstWeight,
        blend.secondWeight,
    )
}

/** The position is computed in double precision, rounded to a float; ties round to even. */
private fun blend(target: Int, source: Int, size: Int): Blend {
    val position = ((target + 0.5) * (source.toDouble() / size) - 0.5).toFloat()
    val first = floor(position).toInt()
    val secondWeight = round(ONE * (position - first)).toInt()
    return Blend(first, first + 1, ONE - secondWeight, secondWeight)
}
