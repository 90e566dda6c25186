package edgefer.expressions

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** A model that runs: its input's bytes in, each output's bytes out, little endian. */
fun interface Network {
    fun run(input: ByteBuffer): List<ByteBuffer>
}

/** Returns memory of the kind that a native runtime reads without copying it. */
internal fun directBuffer(size: Int): ByteBuffer =
    ByteBuffer.allocateDirect(size).order(ByteOrder.LITTLE_ENDIAN)
