#if canImport(LiteRT)
import Foundation
import LiteRT

/// A .tflite in LiteRT, on the processor; not for several threads at a time.
public final class LiteRTNetwork: Network {
    private let model: CompiledModel
    private let input: TensorBuffer
    private let outputs: [TensorBuffer]

    public init(file: URL) throws {
        let options = try Options()
        try options.setHardwareAccelerators([.cpu])
        model = try CompiledModel(
            filePath: file.path, environment: try Environment(), options: options)
        let inputs = try model.createInputBuffers()
        guard inputs.count == 1 else { throw BundleError("\(file.path) has more than one input") }
        input = inputs[0]
        outputs = try model.createOutputBuffers()
    }

    public func run(_ bytes: [UInt8]) throws -> [[UInt8]] {
        try input.write(bytes)
        try model.run(inputs: [input], outputs: outputs)
        return try outputs.map { output -> [UInt8] in try output.read() }
    }
}

extension ExpressionRecogniser {
    /// Opens the files of the bundle's folder `model`; do it once, away from the main thread.
    public init(modelFolder: URL) throws {
        let contract = try Data(contentsOf: modelFolder.appendingPathComponent("contract.json"))
        let classifier = modelFolder.appendingPathComponent("model.tflite")
        let detector = modelFolder.appendingPathComponent("face-detector.tflite")
        self.init(
            contract: try Contract(json: contract),
            classifier: try LiteRTNetwork(file: classifier),
            detector: try LiteRTNetwork(file: detector)
        )
    }
}
#endif
