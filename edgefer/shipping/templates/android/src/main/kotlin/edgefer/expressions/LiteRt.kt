package edgefer.expressions

import android.content.res.AssetManager
import java.nio.ByteBuffer
import org.tensorflow.lite.Interpreter

/** A .tflite in LiteRT's interpreter, on the processor; not for several threads at a time. */
class LiteRtNetwork(model: ByteBuffer, threads: Int = 2) : Network, AutoCloseable {
    private val interpreter = Interpreter(model, Interpreter.Options().setNumThreads(threads))

    override fun run(input: ByteBuffer): List<ByteBuffer> {
        val outputs = List(interpreter.outputTensorCount) { index ->
            directBuffer(interpreter.getOutputTensor(index).numBytes())
        }
        interpreter.runForMultipleInputsOutputs(
            arrayOf(input),
            outputs.indices.associateWith { outputs[it] },
        )
        outputs.forEach { it.rewind() }
        return outputs
    }

    override fun close() = interpreter.close()
}

/**
 * The model and the face detector of this bundle, from the app's assets.
 *
 * Opening takes a moment: do it once, away from the main thread, and close it at the end.
 */
class BundledModels(assets: AssetManager) : AutoCloseable {
    val contract = Contract.parse(assets.open("contract.json").use { it.reader().readText() })
    val classifier = LiteRtNetwork(assets.read("model.tflite"))
    val detector = LiteRtNetwork(assets.read("face-detector.tflite"))
    val recogniser = ExpressionRecogniser(contract, classifier, FaceDetector(detector))

    override fun close() {
        classifier.close()
        detector.close()
    }
}

private fun AssetManager.read(name: String): ByteBuffer {
    val bytes = open(name).use { it.readBytes() }
    val buffer = directBuffer(bytes.size).put(bytes)
    buffer.rewind()
    return buffer
}
