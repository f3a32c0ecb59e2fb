import java.math.BigInteger
import java.security.AlgorithmParameters
import java.security.KeyFactory
import java.security.KeyPair
import java.security.spec.ECGenParameterSpec
import java.security.spec.ECParameterSpec
import java.security.spec.ECPoint
import java.security.spec.ECPrivateKeySpec
import java.security.spec.ECPublicKeySpec
import java.util.Base64

/**
 * First prints keys that it made: p256dh and auth. Then it answers each line: `own RECORD` with what is sealed for these keys, `given
 * PRIVATE PUBLIC AUTH RECORD` with what is sealed for those, `hidden CHANNEL` with the name of a channel.
 */
fun main() {
    val own = DeviceKeys.generate("k2")
    println(own.p256dh + " " + own.auth)
    for (line in generateSequence(::readLine)) {
        val words = line.split(" ")
        val answer = runCatching {
            when (words[0]) {
                "own" -> own.open(words[1])
                "hidden" -> own.hidden(words[1])
                else -> given(words[1], words[2], words[3]).open(words[4])
            }
        }
        println(answer.getOrElse { "refused" })
    }
}

private fun given(private: String, public: String, auth: String): DeviceKeys {
    val curve = AlgorithmParameters.getInstance("EC").run {
        init(ECGenParameterSpec("secp256r1"))
        getParameterSpec(ECParameterSpec::class.java)
    }
    val point = octets(public)
    val w = ECPoint(BigInteger(1, point.copyOfRange(1, 33)), BigInteger(1, point.copyOfRange(33, 65)))
    val factory = KeyFactory.getInstance("EC")
    val pair = KeyPair(
        factory.generatePublic(ECPublicKeySpec(w, curve)),
        factory.generatePrivate(ECPrivateKeySpec(BigInteger(1, octets(private)), curve))
    )
    return DeviceKeys("k1", pair, octets(auth))
}

private fun octets(text: String): ByteArray = Base64.getUrlDecoder().decode(text)
