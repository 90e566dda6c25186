package edgefer.expressions

import java.nio.ByteBuffer
import org.json.JSONArray
import org.json.JSONObject

/** What `contract.json` says: how the model is fed, and what its answer means. */
class Contract(
    val name: String,
    val input: InputContract,
    val output: TensorFormat,
    val labels: List<String>,
) {
    /** Returns what the bytes of the model's output say. */
    fun expressionOf(output: ByteBuffer): FaceExpression {
        val expected = labels.size * this.output.type.byteCount
        require(output.remaining() == expected) {
            "the model gives ${output.remaining()} bytes, its contract says $expected"
        }
        return FaceExpression(labels, labels.map { this.output.get(output) })
    }

    companion object {
        private const val FORMAT = 1

        /** Reads a contract; IllegalArgumentException or JSONException where it is none. */
        fun parse(text: String): Contract {
            val json = JSONObject(text)
            require(json.getInt("format") == FORMAT) { "contract.json is of another format" }
            return Contract(
                name = json.getString("name"),
                input = InputContract.of(json.getJSONObject("input")),
                output = TensorFormat.of(json.getJSONObject("output")),
                labels = json.getJSONArray("labels").let { labels ->
                    List(labels.length()) { labels.getString(it) }
                },
            )
        }
    }
}

/** The probability of each label, in the order of the model's output. */
class FaceExpression(val labels: List<String>, val probabilities: List<Float>) {
    /** The likeliest label. */
    val label: String get() = labels[probabilities.indices.maxBy { probabilities[it] }]
}

/**
 * A square image of [size] pixels, gray where [channels] is 1.
 *
 * The network sees (pixel − mean) / std, with one [mean] and one [std] for each channel.
 */
class InputContract(
    val size: Int,
    val channels: Int,
    val mean: List<Float>,
    val std: List<Float>,
    val tensor: TensorFormat,
) {
    init {
        require(size > 0) { "an input of $size pixels" }
        require(channels == 1 || channels == 3) { "an input of $channels channels" }
        require(mean.size == channels && std.size == channels) { "a mean and std a channel" }
    }

    companion object {
        fun of(json: JSONObject) = InputContract(
            size = json.getInt("size"),
            channels = json.getInt("channels"),
            mean = json.getJSONArray("mean").toFloats(),
            std = json.getJSONArray("std").toFloats(),
            tensor = TensorFormat.of(json),
        )
    }
}

private fun JSONArray.toFloats() = List(length()) { getDouble(it).toFloat() }
