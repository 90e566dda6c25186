package edgefer.expressions

import java.io.DataInputStream
import java.io.DataOutputStream
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.json.JSONArray
import org.json.JSONObject

/**
 * The bundle's code on a desktop, where LiteRT has no Java library: whoever started this runs the
 * networks. Messages out: a kind, a length, bytes. Back for a network: a count of outputs, and for
 * each a length and bytes.
 */
private val out = DataOutputStream(System.out.buffered())
private val back = DataInputStream(System.`in`.buffered())

private fun tell(kind: Int, bytes: ByteArray) {
    out.writeByte(kind)
    out.writeInt(bytes.size)
    out.write(bytes)
    out.flush()
}

private fun askedNetwork(kind: Int) = Network { input ->
    tell(kind, input.bytes())
    List(back.readInt()) {
        val output = ByteArray(back.readInt()).also { back.readFully(it) }
        ByteBuffer.wrap(output).order(ByteOrder.LITTLE_ENDIAN)
    }
}

private fun corners(box: Box) = JSONArray(listOf(box.left, box.top, box.right, box.bottom))

private fun described(face: Face) = JSONObject()
    .put("box", corners(face.box))
    .put("square", corners(face.square))
    .put("score", face.score.toDouble())
    .put("label", face.expression.label)
    .put("probabilities", JSONArray(face.expression.probabilities.map { it.toDouble() }))

fun main() {
    val contract = Contract.parse(File("model/contract.json").readText())
    val recogniser = ExpressionRecogniser(contract, askedNetwork(1), FaceDetector(askedNetwork(0)))
    for (scene in Golden { File("golden", it).inputStream() }.scenes) {
        val faces = recogniser.recognise(scene.picture).map { described(it) }
        tell(2, JSONArray(faces).toString().toByteArray())
    }
}
