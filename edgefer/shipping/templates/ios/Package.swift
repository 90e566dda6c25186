// swift-tools-version: 5.9
import PackageDescription

// LiteRT is for Apple's systems; elsewhere, all but what needs it is built and tested.
#if os(macOS)
let dependencies: [Package.Dependency] = [
    .package(url: "https://github.com/google-ai-edge/LiteRT", branch: "release/2.3.0")
]
let runtime: [Target.Dependency] = [.product(name: "LiteRT", package: "LiteRT")]
#else
let dependencies: [Package.Dependency] = []
let runtime: [Target.Dependency] = []
#endif

let package = Package(
    name: "FaceExpressions",
    platforms: [.iOS(.v15), .macOS(.v12)],
    products: [.library(name: "FaceExpressions", targets: ["FaceExpressions"])],
    dependencies: dependencies,
    targets: [
        .target(name: "FaceExpressions", dependencies: runtime),
        .testTarget(name: "FaceExpressionsTests", dependencies: ["FaceExpressions"]),
    ]
)
