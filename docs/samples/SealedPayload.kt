// Opens what Carillon has sealed, on Android: RFC 8291 and RFC 8188 with the platform's own cryptography.
// Needs Android 8 (API 26). Carillon's tests compile this file and run it on a JVM: tests/system/samples/.

import java.math.BigInteger
import java.security.AlgorithmParameters
import java.security.GeneralSecurityException
import java.security.KeyFactory
import java.security.KeyPair
import java.security.KeyPairGenerator
import java.security.PublicKey
import java.security.SecureRandom
import java.security.interfaces.ECPublicKey
import java.security.spec.ECGenParameterSpec
import java.security.spec.ECParameterSpec
import java.security.spec.ECPoint
import java.security.spec.ECPublicKeySpec
import java.util.Base64
import javax.crypto.Cipher
import javax.crypto.KeyAgreement
import javax.crypto.Mac
import javax.crypto.spec.GCMParameterSpec
import javax.crypto.spec.SecretKeySpec

/** A device's keys. Make them once, keep `pair` and `auth`, and register `id`, `p256dh` and `auth` with the push token. */
class DeviceKeys(val id: String, private val pair: KeyPair, private val secret: ByteArray) {

    /** The public key and the secret, as `device.keys` wants them. */
    val p256dh: String get() = encode(point(pair.public))
    val auth: String get() = encode(secret)

    /**
     * The text inside: a JSON object of `v`, `aps` and `carillon`. `d` is that of `carillon.sealed`, whose `s` is `aes128gcm` and
     * whose `k` is the id of these keys. Throws GeneralSecurityException for anything that was not sealed for this device.
     */
    fun open(d: String): String {
        val record = Base64.getUrlDecoder().decode(d)
        if (record.size < HEADER + TAG + 1 || record[20].toInt() != POINT) throw GeneralSecurityException("no record")
        val salt = record.copyOfRange(0, 16)
        val sender = record.copyOfRange(21, HEADER)
        val shared = KeyAgreement.getInstance("ECDH").run {
            init(pair.private)
            doPhase(publicKey(sender), true)
            generateSecret()
        }
        val information = "WebPush: info\u0000".toByteArray() + point(pair.public) + sender
        val material = hmac(hmac(secret, shared), information + 1)
        val extracted = hmac(salt, material)
        val key = hmac(extracted, "Content-Encoding: aes128gcm\u0000\u0001".toByteArray()).copyOf(16)
        val nonce = hmac(extracted, "Content-Encoding: nonce\u0000\u0001".toByteArray()).copyOf(12)
        val padded = Cipher.getInstance("AES/GCM/NoPadding").run {
            init(Cipher.DECRYPT_MODE, SecretKeySpec(key, "AES"), GCMParameterSpec(8 * TAG, nonce))
            doFinal(record, HEADER, record.size - HEADER)
        }
        // Behind the text stands 2, for the last record, and then as many zeros as it was filled up with.
        val end = padded.indexOfLast { it.toInt() != 0 }
        if (end < 0 || padded[end].toInt() != 2) throw GeneralSecurityException("no last record")
        return String(padded, 0, end, Charsets.UTF_8)
    }

    /** The name under which `clear` calls a channel to a device whose messages are sealed. */
    fun hidden(channel: String): String =
        hmac(secret, channel.toByteArray()).take(8).joinToString("") { "%02x".format(it) }

    companion object {
        private const val POINT = 65
        private const val HEADER = 86
        private const val TAG = 16

        private val curve: ECParameterSpec = AlgorithmParameters.getInstance("EC").run {
            init(ECGenParameterSpec("secp256r1"))
            getParameterSpec(ECParameterSpec::class.java)
        }

        fun generate(id: String): DeviceKeys {
            val pair = KeyPairGenerator.getInstance("EC").run {
                initialize(ECGenParameterSpec("secp256r1"))
                generateKeyPair()
            }
            return DeviceKeys(id, pair, ByteArray(16).also(SecureRandom()::nextBytes))
        }

        private fun hmac(key: ByteArray, message: ByteArray): ByteArray = Mac.getInstance("HmacSHA256").run {
            init(SecretKeySpec(key, "HmacSHA256"))
            doFinal(message)
        }

        /** 65 octets: 4, and both coordinates. The platform refuses a point that is not on the curve. */
        private fun publicKey(point: ByteArray): PublicKey {
            if (point[0].toInt() != 4) throw GeneralSecurityException("no uncompressed point")
            val x = BigInteger(1, point.copyOfRange(1, 33))
            val y = BigInteger(1, point.copyOfRange(33, POINT))
            return KeyFactory.getInstance("EC").generatePublic(ECPublicKeySpec(ECPoint(x, y), curve))
        }

        private fun point(key: PublicKey): ByteArray {
            val w = (key as ECPublicKey).w
            return byteArrayOf(4) + coordinate(w.affineX) + coordinate(w.affineY)
        }

        private fun coordinate(number: BigInteger): ByteArray {
            val octets = number.toByteArray().dropWhile { it.toInt() == 0 }.toByteArray()
            return ByteArray(32 - octets.size) + octets
        }

        private fun encode(octets: ByteArray): String = Base64.getUrlEncoder().withoutPadding().encodeToString(octets)
    }
}
