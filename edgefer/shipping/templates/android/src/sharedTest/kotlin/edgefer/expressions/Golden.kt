package edgefer.expressions

import java.io.InputStream
import java.nio.ByteBuffer
import org.json.JSONArray
import org.json.JSONObject

/** The golden files, read with [open]: pictures, and what has to come out of each step. */
class Golden(private val open: (String) -> InputStream) {
    private val json = JSONObject(String(read("golden.json")))

    val tolerance = json.getDouble("tolerance").toFloat()
    val faces = json.getJSONArray("faces").objects().map { GoldenFace(picture(it), answer(it)) }
    val scenes = json.getJSONArray("scenes").objects().map { scene ->
        val faces = scene.getJSONArray("faces").objects().map {
            SceneFace(box(it, "box"), box(it, "square"), it.getDouble("score"), answer(it))
        }
        GoldenScene(picture(scene), faces)
    }
    val yuvFrames = json.getJSONArray("frames").objects()
        .filter { it.getString("format") == "yuv_420_888" }
        .map { GoldenFrame(it.getString("name"), frame(it), upright(it)) }

    private fun read(name: String) = open(name).use { it.readBytes() }

    private fun picture(json: JSONObject) =
        Picture(json.getInt("width"), json.getInt("height"), 3, read(json.getString("picture")))

    private fun upright(json: JSONObject) = Picture(
        json.getInt("upright_width"),
        json.getInt("upright_height"),
        3,
        read(json.getString("upright")),
    )

    private fun answer(json: JSONObject): Answer {
        val probabilities = json.getJSONArray("probabilities")
        return Answer(
            input = read(json.getString("input")),
            output = read(json.getString("output")),
            label = json.getString("label"),
            probabilities = List(probabilities.length()) { probabilities.getDouble(it).toFloat() },
        )
    }

    private fun box(json: JSONObject, name: String): Box {
        val corners = json.getJSONArray(name)
        val (left, top, right, bottom) = List(4) { corners.getInt(it) }
        return Box(left, top, right, bottom)
    }

    private fun frame(json: JSONObject): CameraFrame {
        val (y, u, v) = json.getJSONArray("planes").objects().map {
            val bytes = ByteBuffer.wrap(read(it.getString("file")))
            Plane(bytes, it.getInt("row_stride"), it.getInt("pixel_stride"))
        }
        val rotation = json.getInt("rotation")
        return CameraFrame(json.getInt("width"), json.getInt("height"), y, u, v, rotation)
    }
}

/** What a face becomes: the model's input and output as bytes, and what they mean. */
class Answer(
    val input: ByteArray,
    val output: ByteArray,
    val label: String,
    val probabilities: List<Float>,
)

class GoldenFace(val picture: Picture, val answer: Answer)

class SceneFace(val box: Box, val square: Box, val score: Double, val answer: Answer)

class GoldenScene(val picture: Picture, val faces: List<SceneFace>)

class GoldenFrame(val name: String, val frame: CameraFrame, val upright: Picture)

private fun JSONArray.objects() = List(length()) { getJSONObject(it) }

fun ByteBuffer.bytes() = ByteArray(remaining()).also { duplicate().get(it) }
