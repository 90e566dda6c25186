package edgefer.expressions

import android.graphics.Bitmap
import android.graphics.ImageFormat
import android.media.Image

/**
 * Returns a camera's image as a frame that reads its memory: use it before the image is closed.
 *
 * [rotation] is CameraX's `imageInfo.rotationDegrees`.
 */
fun Image.toCameraFrame(rotation: Int): CameraFrame {
    require(format == ImageFormat.YUV_420_888) { "an image of format $format, not YUV_420_888" }
    val (y, u, v) = planes.map { Plane(it.buffer, it.rowStride, it.pixelStride) }
    return CameraFrame(width, height, y, u, v, rotation)
}

/** Returns a photo's pixels without their alpha; turn it upright before. */
fun Bitmap.toPicture(): Picture {
    val colours = IntArray(width * height)
    getPixels(colours, 0, width, 0, 0, width, height)
    val rgb = ByteArray(colours.size * 3)
    colours.forEachIndexed { pixel, colour ->
        rgb[3 * pixel] = (colour shr 16).toByte()
        rgb[3 * pixel + 1] = (colour shr 8).toByte()
        rgb[3 * pixel + 2] = colour.toByte()
    }
    return Picture(width, height, 3, rgb)
}
