package edgefer.expressions

import androidx.test.ext.junit.runners.AndroidJUnit4
import androidx.test.platform.app.InstrumentationRegistry
import kotlin.math.abs
import org.junit.After
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith

/** The model and the face detector in LiteRT on this device, against the golden files. */
@RunWith(AndroidJUnit4::class)
class ModelGoldenTest {
    private val instrumentation = InstrumentationRegistry.getInstrumentation()
    private val golden = Golden { instrumentation.context.assets.open(it) }
    private val models = BundledModels(instrumentation.targetContext.assets)

    @After
    fun close() = models.close()

    @Test
    fun aFaceGetsTheSameProbabilities() {
        assertTrue(golden.faces.isNotEmpty())
        for (face in golden.faces) {
            assertSame(face.answer, models.recogniser.expressionOf(face.picture))
        }
    }

    @Test
    fun theSameFacesAreFoundInAScene() {
        for (scene in golden.scenes) {
            val faces = models.recogniser.recognise(scene.picture)
            assertEquals(scene.faces.size, faces.size)
            for ((expected, face) in scene.faces.zip(faces)) {
                assertNear(expected.box, face.box)
                val crop = scene.picture.cutOut(expected.square)
                assertSame(expected.answer, models.recogniser.expressionOf(crop))
            }
        }
    }

    private fun assertSame(expected: Answer, expression: FaceExpression) {
        assertArrayEquals(
            expected.probabilities.toFloatArray(),
            expression.probabilities.toFloatArray(),
            golden.tolerance + 1e-6f,
        )
    }

    private fun assertNear(expected: Box, box: Box) {
        val corners = { it: Box -> listOf(it.left, it.top, it.right, it.bottom) }
        for ((one, other) in corners(expected).zip(corners(box))) {
            assertTrue("$box instead of $expected", abs(one - other) <= 1)
        }
    }
}
