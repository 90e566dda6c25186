package edgefer.expressions

/** A face that was found: its [box], the [square] that the model saw, and its [expression]. */
class Face(val box: Box, val square: Box, val score: Float, val expression: FaceExpression)

/** Finds faces and names their expressions; not for several threads at a time. */
class ExpressionRecogniser(
    private val contract: Contract,
    private val classifier: Network,
    private val detector: FaceDetector,
) {
    private val faceInput = FaceInput(contract.input)

    /** Returns the faces of an upright RGB picture, from left to right. */
    fun recognise(picture: Picture): List<Face> = detector.find(picture).map { found ->
        val square = squareAround(found.box, picture.width, picture.height)
        Face(found.box, square, found.score, expressionOf(picture.cutOut(square)))
    }

    /** Returns the expression of a picture that is one face from border to border. */
    fun expressionOf(face: Picture): FaceExpression =
        contract.expressionOf(classifier.run(faceInput.of(face)).single())
}
