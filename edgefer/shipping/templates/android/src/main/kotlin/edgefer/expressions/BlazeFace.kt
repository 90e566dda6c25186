package edgefer.expressions

import java.nio.FloatBuffer
import kotlin.math.exp
import kotlin.math.max
import kotlin.math.min

/** A face in the network's input, whose sides are 1; [score] is 0…1. */
class Detection(
    val left: Double,
    val top: Double,
    val right: Double,
    val bottom: Double,
    val score: Float,
)

/**
 * What the outputs of MediaPipe's BlazeFace mean: its anchors, its boxes, and one answer a face.
 *
 * After Bazarevsky et al., BlazeFace (arXiv 1907.05047), and the options MediaPipe publishes.
 */
object BlazeFace {
    const val INPUT_SIZE = 256
    const val ANCHORS = 896

    /** How many numbers a box has: its centre, its size, and six points, which are not used. */
    const val NUMBERS = 16

    private const val LEAST_SCORE = 0.5f
    private const val SAME_FACE_OVERLAP = 0.3
    private const val LARGEST_LOGIT = 80f

    /** Cells along each side, and anchors in each cell. */
    private val GRIDS = listOf(16 to 2, 8 to 6)

    /** The anchors' centres, row by row, for an input whose sides are 1. */
    private val anchors: List<Pair<Double, Double>> = GRIDS.flatMap { (cells, repeats) ->
        List(cells * cells * repeats) { index ->
            val cell = index / repeats
            (cell % cells + 0.5) / cells to (cell / cells + 0.5) / cells
        }
    }

    /** Returns the faces, the surest first. */
    fun decode(regressors: FloatBuffer, logits: FloatBuffer): List<Detection> {
        val found = (0 until ANCHORS).mapNotNull { anchor ->
            val score = 1 / (1 + exp(-logits.get(anchor).coerceIn(-LARGEST_LOGIT, LARGEST_LOGIT)))
            box(regressors, anchor, score).takeIf { score >= LEAST_SCORE && it.isUsable() }
        }
        return oneAFace(found.sortedByDescending { it.score })
    }

    private fun box(regressors: FloatBuffer, anchor: Int, score: Float): Detection {
        fun number(index: Int) = regressors.get(anchor * NUMBERS + index).toDouble() / INPUT_SIZE
        val (anchorX, anchorY) = anchors[anchor]
        val x = number(0) + anchorX
        val y = number(1) + anchorY
        val halfWidth = number(2) / 2
        val halfHeight = number(3) / 2
        return Detection(x - halfWidth, y - halfHeight, x + halfWidth, y + halfHeight, score)
    }

    private fun Detection.isUsable() =
        listOf(left, top, right, bottom).all { it.isFinite() } && left < right && top < bottom

    /** Blends the boxes that overlap the surest one, weighted by score, until none is left. */
    private fun oneAFace(detections: List<Detection>): List<Detection> {
        val faces = mutableListOf<Detection>()
        var left = detections
        while (left.isNotEmpty()) {
            val surest = left.first()
            val (same, others) = left.partition { overlap(surest, it) > SAME_FACE_OVERLAP }
            faces += blended(same, surest.score)
            left = others
        }
        return faces
    }

    private fun blended(same: List<Detection>, score: Float): Detection {
        val weights = same.sumOf { it.score.toDouble() }
        fun mean(side: (Detection) -> Double) = same.sumOf { it.score * side(it) } / weights
        return Detection(
            mean { it.left }, mean { it.top }, mean { it.right }, mean { it.bottom }, score,
        )
    }

    /** Returns intersection over union. */
    private fun overlap(one: Detection, other: Detection): Double {
        val width = min(one.right, other.right) - max(one.left, other.left)
        val height = min(one.bottom, other.bottom) - max(one.top, other.top)
        val shared = max(width, 0.0) * max(height, 0.0)
        return shared / (one.area() + other.area() - shared)
    }

    private fun Detection.area() = (right - left) * (bottom - top)
}
