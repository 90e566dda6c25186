import Foundation

/// What `contract.json` says: how the model is fed, and what its answer means.
public struct Contract: Decodable {
    public let format: Int
    public let name: String
    public let input: InputContract
    public let output: TensorFormat
    public let labels: [String]

    /// Reads a contract; throws a `DecodingError` where it is none, or a `BundleError`.
    public init(json: Data) throws {
        self = try JSONDecoder().decode(Contract.self, from: json)
        guard format == 1 else { throw BundleError("contract.json is of another format") }
        guard input.mean.count == input.channels && input.std.count == input.channels else {
            throw BundleError("contract.json has no mean and std for each channel")
        }
    }

    /// Returns what the bytes of the model's output say.
    func expression(of output: [UInt8]) throws -> FaceExpression {
        let expected = labels.count * self.output.type.byteCount
        guard output.count == expected else {
            throw BundleError("the model gives \(output.count) bytes, not \(expected)")
        }
        return FaceExpression(labels: labels, probabilities: self.output.values(of: output))
    }
}

/// A square image of `size` pixels, gray where `channels` is 1.
///
/// The network sees (pixel − mean) / std, with one `mean` and one `std` for each channel.
public struct InputContract: Decodable {
    public let size: Int
    public let channels: Int
    public let mean: [Float]
    public let std: [Float]
    public let tensor: TensorFormat

    enum CodingKeys: String, CodingKey {
        case size
        case channels
        case mean
        case std
    }

    public init(from decoder: Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        size = try values.decode(Int.self, forKey: .size)
        channels = try values.decode(Int.self, forKey: .channels)
        mean = try values.decode([Float].self, forKey: .mean)
        std = try values.decode([Float].self, forKey: .std)
        tensor = try TensorFormat(from: decoder)
    }
}

/// The probability of each label, in the order of the model's output.
public struct FaceExpression {
    public let labels: [String]
    public let probabilities: [Float]

    /// The likeliest label; of equally likely ones the first.
    public var label: String {
        let most = probabilities.max() ?? 0
        return labels[probabilities.firstIndex(of: most) ?? 0]
    }
}

/// A bundle whose files do not fit together, or a frame that this code does not read.
public struct BundleError: LocalizedError {
    public let errorDescription: String?

    init(_ description: String) { errorDescription = description }
}
