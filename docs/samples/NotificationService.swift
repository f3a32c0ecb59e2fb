// A sample that is not compiled where Carillon is built and tested, for there is no Swift. SealedPayload.kt does the same and is.
//
// A notification service extension (iOS 13, macOS 10.15) that opens what Carillon has sealed: RFC 8291 and RFC 8188 with CryptoKit.
// The system runs it for a payload with `mutable-content` and an alert, for about 30 seconds and with 24 MB of memory.

import CryptoKit
import Foundation
import Security
import UserNotifications

/// A device's keys. The app makes them once, stores them where the extension finds them, and registers `id`, `p256dh` and `auth`
/// with the push token.
struct DeviceKeys {
    enum Fault: Error { case noRecord }

    let id: String
    let privateKey: P256.KeyAgreement.PrivateKey
    let secret: Data

    /// The public key and the secret, as `device.keys` wants them.
    var p256dh: String { publicKey.base64URL }
    var auth: String { secret.base64URL }

    private var publicKey: Data { privateKey.publicKey.x963Representation }

    static func generate(id: String) -> DeviceKeys {
        let secret = SymmetricKey(size: .bits128).withUnsafeBytes { Data($0) }
        return DeviceKeys(id: id, privateKey: P256.KeyAgreement.PrivateKey(), secret: secret)
    }

    /// The text inside: a JSON object of `v`, `aps` and `carillon`. `d` is that of `carillon.sealed`. Throws for anything that was
    /// not sealed for this device.
    func open(_ d: String) throws -> Data {
        guard let record = Data(base64URL: d), record.count > 86 + 16, record[20] == 65 else { throw Fault.noRecord }
        let salt = record.subdata(in: 0..<16)
        let sender = record.subdata(in: 21..<86)
        let shared = try privateKey.sharedSecretFromKeyAgreement(with: .init(x963Representation: sender))
        let information = Data("WebPush: info\0".utf8) + publicKey + sender
        let material = hmac(hmac(secret, shared.withUnsafeBytes { Data($0) }), information + [1])
        let extracted = hmac(salt, material)
        let key = hmac(extracted, Data("Content-Encoding: aes128gcm\0\u{1}".utf8)).prefix(16)
        let nonce = hmac(extracted, Data("Content-Encoding: nonce\0\u{1}".utf8)).prefix(12)
        let box = try AES.GCM.SealedBox(
            nonce: AES.GCM.Nonce(data: nonce),
            ciphertext: record.subdata(in: 86..<(record.count - 16)),
            tag: record.suffix(16)
        )
        var padded = try AES.GCM.open(box, using: SymmetricKey(data: key))
        // Behind the text stands 2, for the last record, and then as many zeros as it was filled up with.
        while padded.last == 0 { padded.removeLast() }
        guard padded.popLast() == 2 else { throw Fault.noRecord }
        return padded
    }

    /// The name under which `clear` calls a channel to a device whose messages are sealed.
    func hidden(_ channel: String) -> String {
        hmac(secret, Data(channel.utf8)).prefix(8).map { String(format: "%02x", $0) }.joined()
    }

    private func hmac(_ key: Data, _ message: Data) -> Data {
        Data(HMAC<SHA256>.authenticationCode(for: message, using: SymmetricKey(data: key)))
    }
}

/// The app and the extension share an access group. The class `AfterFirstUnlock` lets the extension read the keys while the phone is
/// locked; before the first unlock after a restart it cannot, and the placeholder stays.
enum KeyStore {
    static let accessGroup = "TEAM123456.chat.example"

    static func save(_ keys: DeviceKeys) -> Bool {
        SecItemDelete(query(keys.id) as CFDictionary)
        let item = query(keys.id).merging([
            kSecValueData: keys.privateKey.rawRepresentation + keys.secret,
            kSecAttrAccessible: kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly,
        ]) { $1 }
        return SecItemAdd(item as CFDictionary, nil) == errSecSuccess
    }

    static func find(_ id: String) -> DeviceKeys? {
        var found: CFTypeRef?
        let asked = query(id).merging([kSecReturnData: true]) { $1 }
        guard SecItemCopyMatching(asked as CFDictionary, &found) == errSecSuccess, let data = found as? Data, data.count == 48,
              let privateKey = try? P256.KeyAgreement.PrivateKey(rawRepresentation: data.prefix(32)) else { return nil }
        return DeviceKeys(id: id, privateKey: privateKey, secret: data.suffix(16))
    }

    private static func query(_ id: String) -> [CFString: Any] {
        [
            kSecClass: kSecClassGenericPassword,
            kSecAttrService: "carillon",
            kSecAttrAccount: id,
            kSecAttrAccessGroup: accessGroup,
        ]
    }
}

final class NotificationService: UNNotificationServiceExtension {
    private var finish: ((UNNotificationContent) -> Void)?
    private var placeholder: UNNotificationContent?

    override func didReceive(
        _ request: UNNotificationRequest, withContentHandler contentHandler: @escaping (UNNotificationContent) -> Void
    ) {
        finish = contentHandler
        placeholder = request.content
        contentHandler(opened(request.content) ?? request.content)
    }

    override func serviceExtensionTimeWillExpire() {
        if let finish, let placeholder { finish(placeholder) }
    }

    /// The notification with what was inside laid over it; nil where nothing was sealed, or this device cannot open it.
    private func opened(_ content: UNNotificationContent) -> UNNotificationContent? {
        guard let sealed = (content.userInfo["carillon"] as? [String: Any])?["sealed"] as? [String: String],
              sealed["s"] == "aes128gcm", let id = sealed["k"], let d = sealed["d"],
              let keys = KeyStore.find(id), let text = try? keys.open(d),
              let inside = (try? JSONSerialization.jsonObject(with: text)) as? [String: Any],
              let shown = content.mutableCopy() as? UNMutableNotificationContent else { return nil }
        let aps = inside["aps"] as? [String: Any] ?? [:]
        if let alert = aps["alert"] as? [String: Any] {
            shown.title = alert["title"] as? String ?? ""
            shown.subtitle = alert["subtitle"] as? String ?? ""
            shown.body = alert["body"] as? String ?? ""
        } else if let body = aps["alert"] as? String {
            shown.title = ""
            shown.body = body
        }
        let carillon = inside["carillon"] as? [String: Any] ?? [:]
        if let thread = aps["thread-id"] as? String { shown.threadIdentifier = thread }
        if let channel = carillon["channel"] as? String { shown.userInfo["hidden"] = keys.hidden(channel) }
        shown.userInfo["carillon"] = carillon
        return shown
    }
}

extension Data {
    init?(base64URL text: String) {
        let standard = text.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
        self.init(base64Encoded: standard + String(repeating: "=", count: (4 - standard.count % 4) % 4))
    }

    var base64URL: String {
        base64EncodedString().replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
            .replacingOccurrences(of: "=", with: "")
    }
}
