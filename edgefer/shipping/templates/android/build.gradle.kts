plugins {
    id("com.android.library") // from 9.0 on it compiles Kotlin itself
}

android {
    namespace = "edgefer.expressions"
    compileSdk = 36

    defaultConfig {
        minSdk = 24
        testInstrumentationRunner = "androidx.test.runner.AndroidJUnitRunner"
    }

    sourceSets["main"].assets.directories.add("model")
    sourceSets["androidTest"].assets.directories.add("golden")
    sourceSets["test"].kotlin.directories.add("src/sharedTest/kotlin")
    sourceSets["androidTest"].kotlin.directories.add("src/sharedTest/kotlin")
}

dependencies {
    implementation("com.google.ai.edge.litert:litert:2.3.2")

    testImplementation("junit:junit:4.13.2")
    testImplementation("org.json:json:20240303") // Android brings it, a desktop's JVM does not

    androidTestImplementation("junit:junit:4.13.2")
    androidTestImplementation("androidx.test:runner:1.6.2")
    androidTestImplementation("androidx.test.ext:junit:1.2.1")
}
