package edgefer.expressions

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** All of the arithmetic against the golden files, bit for bit; runs without a device. */
class GoldenTest {
    private val golden = Golden { File("golden", it).inputStream() }
    private val contract = Contract.parse(File("model/contract.json").readText())
    private val faceInput = FaceInput(contract.input)

    @Test
    fun `a face becomes exactly the bytes that the model is fed`() {
        assertTrue(golden.faces.isNotEmpty())
        for (face in golden.faces) {
            assertArrayEquals(face.answer.input, faceInput.of(face.picture).bytes())
        }
    }

    @Test
    fun `a face is cut out of its scene by the same square`() {
        assertTrue(golden.scenes.any { it.faces.isNotEmpty() })
        for (scene in golden.scenes) {
            for (face in scene.faces) {
                val square = squareAround(face.box, scene.picture.width, scene.picture.height)
                assertEquals(face.square, square)
                val input = faceInput.of(scene.picture.cutOut(square))
                assertArrayEquals(face.answer.input, input.bytes())
            }
        }
    }

    @Test
    fun `a camera's frame becomes exactly the same upright picture`() {
        assertTrue(golden.yuvFrames.isNotEmpty())
        for (golden in golden.yuvFrames) {
            val picture = golden.frame.upright()
            assertEquals(golden.name, golden.upright.width, picture.width)
            assertEquals(golden.name, golden.upright.height, picture.height)
            assertArrayEquals(golden.name, golden.upright.bytes, picture.bytes)
        }
    }

    @Test
    fun `the model's output becomes the same probabilities and label`() {
        for (answer in golden.faces.map { it.answer }) {
            val output = ByteBuffer.wrap(answer.output).order(ByteOrder.LITTLE_ENDIAN)
            val expression = contract.expressionOf(output)
            assertEquals(answer.label, expression.label)
            assertArrayEquals(
                answer.probabilities.toFloatArray(),
                expression.probabilities.toFloatArray(),
                1e-6f,
            )
        }
    }
}
