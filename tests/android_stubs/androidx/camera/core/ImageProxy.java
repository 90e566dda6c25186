package androidx.camera.core;

public interface ImageProxy extends AutoCloseable {
    int getWidth();

    int getHeight();

    PlaneProxy[] getPlanes();

    ImageInfo getImageInfo();

    @Override
    void close();

    interface PlaneProxy {
        int getRowStride();

        int getPixelStride();

        java.nio.ByteBuffer getBuffer();
    }
}
