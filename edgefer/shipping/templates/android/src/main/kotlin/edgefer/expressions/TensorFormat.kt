package edgefer.expressions

import java.nio.ByteBuffer
import kotlin.math.floor
import org.json.JSONObject

/** The types that an input or output has, with the values that a quantized one takes. */
enum class TensorType(val byteCount: Int, val range: IntRange?) {
    INT8(1, -128..127),
    UINT8(1, 0..255),
    INT16(2, -32768..32767),
    FLOAT32(4, null),
}

/** How a tensor's numbers lie in memory: a quantized q stands for [scale] · (q − [zeroPoint]). */
class TensorFormat(val type: TensorType, val scale: Float, val zeroPoint: Int) {
    init {
        require(type.range == null || scale > 0) { "a quantized tensor without a scale" }
    }

    /** Appends a real number to [buffer], quantized to the nearest step where that is the type. */
    fun put(value: Float, buffer: ByteBuffer) {
        when (type) {
            TensorType.INT8, TensorType.UINT8 -> buffer.put(step(value).toByte())
            TensorType.INT16 -> buffer.putShort(step(value).toShort())
            TensorType.FLOAT32 -> buffer.putFloat(value)
        }
    }

    /** Takes the next number from [buffer], as the real number that it stands for. */
    fun get(buffer: ByteBuffer): Float = when (type) {
        TensorType.INT8 -> real(buffer.get().toInt())
        TensorType.UINT8 -> real(buffer.get().toInt() and 0xFF)
        TensorType.INT16 -> real(buffer.getShort().toInt())
        TensorType.FLOAT32 -> buffer.getFloat()
    }

    private fun real(step: Int): Float = (step - zeroPoint) * scale

    /** Ties go up, so that an input of −1…1 gets pixel − 128; 0.001 takes up the float's error. */
    private fun step(value: Float): Int {
        val range = checkNotNull(type.range)
        val step = floor(value / scale + 0.501f) + zeroPoint
        return step.coerceIn(range.first.toFloat(), range.last.toFloat()).toInt()
    }

    companion object {
        fun of(json: JSONObject): TensorFormat {
            val name = json.getString("type")
            return TensorFormat(
                type = requireNotNull(TensorType.entries.find { it.name.lowercase() == name }) {
                    "a tensor of type $name, which this code does not feed"
                },
                scale = json.getDouble("scale").toFloat(),
                zeroPoint = json.getInt("zero_point"),
            )
        }
    }
}
