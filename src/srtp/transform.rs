//! The transforms of packets: AES-CM with HMAC-SHA1 (RFC 3711 §4.1, §4.2) and AES-GCM (RFC 7714), and the derivation of
//! their session keys (RFC 3711 §4.3, RFC 7714 §11).
//!
//! ```text
//! AES-CM   RTP   header | encrypted | MKI | tag              the tag covers header, encrypted and rollover counter
//!          RTCP  8 bytes | encrypted | E, index | MKI | tag  the tag covers all before the MKI
//! AES-GCM  RTP   header | encrypted | tag | MKI              the header is the associated data
//!          RTCP  8 bytes | encrypted | tag | E, index | MKI  so are the 8 bytes with E and index
//! ```

use aes::{Aes128, Aes256};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ctr::CtrCore;
use ctr::cipher::{BlockCipherEncrypt, InnerIvInit, StreamCipherCore, consts::U16};
use ctr::flavors::Ctr128BE;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{MasterKey, Suite};

/// The session keys of a master key.
pub(super) struct SessionKeys {
    pub(super) rtp: Transform,
    pub(super) rtcp: Transform,
}

/// How packets of one kind are protected.
#[expect(clippy::large_enum_variant, reason = "the larger one is the usual one, and each leg has four")]
pub(super) enum Transform {
    Counter { cipher: Aes128, salt: Zeroizing<[u8; 14]>, authentication: Hmac<Sha1>, tag_len: usize },
    Gcm { key: LessSafeKey, salt: Zeroizing<[u8; 12]> },
}

/// A packet that is not what it claims to be, or is too short to claim anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forged;

impl SessionKeys {
    pub(super) fn derive(master: &MasterKey) -> Self {
        let tag_len = match master.suite() {
            Suite::AesCm128HmacSha1Tag80 => 10,
            Suite::AesCm128HmacSha1Tag32 => 4,
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => GCM_TAG_LEN,
        };
        Self { rtp: Transform::derive(master, 0, tag_len), rtcp: Transform::derive(master, 3, SRTCP_TAG_LEN) }
    }
}

impl Transform {
    /// `label` is that of the encryption key; those of the other keys follow it.
    fn derive(master: &MasterKey, label: u8, tag_len: usize) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        let key = key.get_mut(..master.suite().key_len()).unwrap_or_default();
        derive_key(master, label, key);
        let mut salt = Zeroizing::new([0; 14]);
        derive_key(master, label + 2, &mut *salt);
        match master.suite() {
            Suite::AesCm128HmacSha1Tag80 | Suite::AesCm128HmacSha1Tag32 => {
                let mut authentication = Zeroizing::new([0; 20]);
                derive_key(master, label + 1, &mut *authentication);
                Self::Counter { cipher: aes_128(key), salt, authentication: hmac_key(&*authentication), tag_len }
            }
            suite @ (Suite::AeadAes128Gcm | Suite::AeadAes256Gcm) => {
                let algorithm = if suite == Suite::AeadAes128Gcm { &AES_128_GCM } else { &AES_256_GCM };
                let key = UnboundKey::new(algorithm, key).expect("the key has the length of its suite");
                let mut short = Zeroizing::new([0; 12]);
                short.copy_from_slice(salt.first_chunk::<12>().expect("12 are less than 14"));
                Self::Gcm { key: LessSafeKey::new(key), salt: short }
            }
        }
    }

    /// Whether a packet that was not authentic has been overwritten.
    pub(super) const fn spoils(&self) -> bool {
        matches!(self, Self::Gcm { .. })
    }

    /// Protects the first `len` bytes of `buffer`, an RTP packet. Returns its new length; `None` if there is no room.
    pub(super) fn seal_rtp(
        &self,
        buffer: &mut [u8],
        header: usize,
        len: usize,
        ssrc: u32,
        index: u64,
    ) -> Option<usize> {
        match self {
            Self::Counter { cipher, salt, authentication, tag_len } => {
                let packet = buffer.get_mut(..len + tag_len)?;
                let (data, tag) = packet.split_at_mut_checked(len)?;
                apply_counter_mode(cipher, salt, ssrc, index, data.get_mut(header..)?);
                tag.copy_from_slice(hmac_of(authentication, data, Some(index)).get(..*tag_len)?);
                Some(len + tag_len)
            }
            Self::Gcm { key, salt } => {
                let packet = buffer.get_mut(..len + GCM_TAG_LEN)?;
                let (data, tag) = packet.split_at_mut_checked(len)?;
                let (header, payload) = data.split_at_mut_checked(header)?;
                let nonce = gcm_nonce(salt, ssrc, index);
                let sealed = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload).ok()?;
                tag.copy_from_slice(sealed.as_ref());
                Some(len + GCM_TAG_LEN)
            }
        }
    }

    /// Authenticates and decrypts an RTP packet. Returns its new length.
    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header: usize,
        mki: &[u8],
        ssrc: u32,
        index: u64,
    ) -> Result<usize, Forged> {
        match self {
            Self::Counter { cipher, salt, authentication, tag_len } => {
                let (rest, tag) = split_end(packet, *tag_len).ok_or(Forged)?;
                let (data, found_mki) = split_end(rest, mki.len()).ok_or(Forged)?;
                let expected = hmac_of(authentication, data, Some(index));
                if found_mki != mki || !is_equal(tag, expected.get(..*tag_len).unwrap_or_default()) {
                    return Err(Forged);
                }
                apply_counter_mode(cipher, salt, ssrc, index, data.get_mut(header..).ok_or(Forged)?);
                Ok(data.len())
            }
            Self::Gcm { key, salt } => {
                let (data, found_mki) = split_end(packet, mki.len()).ok_or(Forged)?;
                let (header, payload) = data.split_at_mut_checked(header).ok_or(Forged)?;
                if found_mki != mki {
                    return Err(Forged);
                }
                let nonce = gcm_nonce(salt, ssrc, index);
                let opened = key.open_in_place(nonce, Aad::from(&*header), payload).or(Err(Forged))?;
                Ok(header.len() + opened.len())
            }
        }
    }

    /// Protects the first `len` bytes of `buffer`, a compound RTCP packet. Returns its new length.
    pub(super) fn seal_rtcp(&self, buffer: &mut [u8], len: usize, ssrc: u32, index: u32) -> Option<usize> {
        let word = (index | ENCRYPTED).to_be_bytes();
        match self {
            Self::Counter { cipher, salt, authentication, tag_len } => {
                let packet = buffer.get_mut(..len + INDEX_LEN + tag_len)?;
                let (data, tag) = packet.split_at_mut_checked(len + INDEX_LEN)?;
                let (rtcp, trailer) = data.split_at_mut_checked(len)?;
                apply_counter_mode(cipher, salt, ssrc, u64::from(index), rtcp.get_mut(RTCP_CLEAR_LEN..)?);
                trailer.copy_from_slice(&word);
                tag.copy_from_slice(hmac_of(authentication, data, None).get(..*tag_len)?);
                Some(len + INDEX_LEN + tag_len)
            }
            Self::Gcm { key, salt } => {
                let packet = buffer.get_mut(..len + GCM_TAG_LEN + INDEX_LEN)?;
                let (data, trailer) = packet.split_at_mut_checked(len + GCM_TAG_LEN)?;
                let (rtcp, tag) = data.split_at_mut_checked(len)?;
                let (clear, payload) = rtcp.split_at_mut_checked(RTCP_CLEAR_LEN)?;
                let nonce = gcm_nonce(salt, ssrc, u64::from(index));
                let sealed = key.seal_in_place_separate_tag(nonce, rtcp_aad(clear, word), payload).ok()?;
                tag.copy_from_slice(sealed.as_ref());
                trailer.copy_from_slice(&word);
                Some(len + GCM_TAG_LEN + INDEX_LEN)
            }
        }
    }

    /// The index that an RTCP packet claims. One that says it is not encrypted has none.
    pub(super) fn rtcp_index(&self, packet: &[u8], mki: &[u8]) -> Option<u32> {
        let behind = match self {
            Self::Counter { tag_len, .. } => mki.len() + tag_len,
            Self::Gcm { .. } => mki.len(),
        };
        let end = packet.len().checked_sub(behind)?;
        let word = packet.get(..end)?.last_chunk::<INDEX_LEN>()?;
        let word = u32::from_be_bytes(*word);
        (word & ENCRYPTED != 0).then_some(word & !ENCRYPTED)
    }

    /// Authenticates and decrypts a compound RTCP packet of the index that it claims. Returns its new length.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], mki: &[u8], ssrc: u32, index: u32) -> Result<usize, Forged> {
        match self {
            Self::Counter { cipher, salt, authentication, tag_len } => {
                let (rest, tag) = split_end(packet, *tag_len).ok_or(Forged)?;
                let (data, found_mki) = split_end(rest, mki.len()).ok_or(Forged)?;
                let expected = hmac_of(authentication, data, None);
                if found_mki != mki || !is_equal(tag, expected.get(..*tag_len).unwrap_or_default()) {
                    return Err(Forged);
                }
                let (rtcp, _index) = split_end(data, INDEX_LEN).ok_or(Forged)?;
                let payload = rtcp.get_mut(RTCP_CLEAR_LEN..).ok_or(Forged)?;
                apply_counter_mode(cipher, salt, ssrc, u64::from(index), payload);
                Ok(rtcp.len())
            }
            Self::Gcm { key, salt } => {
                let (data, found_mki) = split_end(packet, mki.len()).ok_or(Forged)?;
                let (rtcp, word) = split_end(data, INDEX_LEN).ok_or(Forged)?;
                let (clear, payload) = rtcp.split_at_mut_checked(RTCP_CLEAR_LEN).ok_or(Forged)?;
                let word = *word.first_chunk::<INDEX_LEN>().ok_or(Forged)?;
                if found_mki != mki {
                    return Err(Forged);
                }
                let nonce = gcm_nonce(salt, ssrc, u64::from(index));
                let opened = key.open_in_place(nonce, rtcp_aad(clear, word), payload).or(Err(Forged))?;
                Ok(RTCP_CLEAR_LEN + opened.len())
            }
        }
    }
}

/// RFC 3711 §4.3.1 with a key derivation rate of 0: AES in counter mode, from the salt with the label in its middle.
fn derive_key(master: &MasterKey, label: u8, derived: &mut [u8]) {
    let mut iv = [0; 16];
    for (byte, salt) in iv.iter_mut().zip(master.salt()) {
        *byte = *salt;
    }
    iv[7] ^= label;
    derived.fill(0);
    match master.key().try_into() {
        Ok(key) => apply_key_stream(&Aes256::new(key), iv, derived),
        Err(_shorter) => apply_key_stream(&aes_128(master.key()), iv, derived),
    }
}

fn aes_128(key: &[u8]) -> Aes128 {
    Aes128::new_from_slice(key).expect("the key has the length of its suite")
}

fn hmac_key(key: &[u8]) -> Hmac<Sha1> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// §4.1.1: the initial counter is the salt, with the SSRC in bytes 4 to 7 and the index in bytes 8 to 13.
fn apply_counter_mode(cipher: &Aes128, salt: &[u8; 14], ssrc: u32, index: u64, data: &mut [u8]) {
    let block = (u128::from(ssrc) << 64) ^ (u128::from(index) << 16);
    let mut iv = block.to_be_bytes();
    for (byte, salt) in iv.iter_mut().zip(salt) {
        *byte ^= *salt;
    }
    apply_key_stream(cipher, iv, data);
}

fn apply_key_stream<C: BlockCipherEncrypt<BlockSize = U16>>(cipher: &C, iv: [u8; 16], data: &mut [u8]) {
    CtrCore::<&C, Ctr128BE>::inner_iv_init(cipher, &iv.into()).apply_keystream_partial(data.into());
}

/// RFC 7714 §8.1, §9.1: two zero bytes, the SSRC, and the index in six bytes, all masked by the salt.
fn gcm_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let block = (u128::from(ssrc) << 48) ^ u128::from(index);
    let mut nonce = [0; 12];
    for (byte, (block, salt)) in nonce.iter_mut().zip(block.to_be_bytes().iter().skip(4).zip(salt)) {
        *byte = block ^ salt;
    }
    Nonce::assume_unique_for_key(nonce)
}

/// RFC 7714 §9.2.
fn rtcp_aad(clear: &[u8], word: [u8; INDEX_LEN]) -> Aad<[u8; RTCP_CLEAR_LEN + INDEX_LEN]> {
    let mut aad = [0; RTCP_CLEAR_LEN + INDEX_LEN];
    for (byte, from) in aad.iter_mut().zip(clear.iter().chain(&word)) {
        *byte = *from;
    }
    Aad::from(aad)
}

/// §4.2: over the packet, and for RTP over its rollover counter, too.
fn hmac_of(key: &Hmac<Sha1>, data: &[u8], rtp_index: Option<u64>) -> [u8; 20] {
    let mut mac = key.clone();
    mac.update(data);
    if let Some(index) = rtp_index {
        let rollovers = u32::try_from(index >> 16).unwrap_or(u32::MAX);
        mac.update(&rollovers.to_be_bytes());
    }
    mac.finalize().into_bytes().into()
}

fn is_equal(left: &[u8], right: &[u8]) -> bool {
    bool::from(left.ct_eq(right))
}

fn split_end(packet: &mut [u8], len: usize) -> Option<(&mut [u8], &mut [u8])> {
    let at = packet.len().checked_sub(len)?;
    packet.split_at_mut_checked(at)
}

const GCM_TAG_LEN: usize = 16;
const SRTCP_TAG_LEN: usize = 10;
/// The E flag and the index of SRTCP.
const INDEX_LEN: usize = 4;
const ENCRYPTED: u32 = 1 << 31;
/// The first header of a compound packet, with its sender.
const RTCP_CLEAR_LEN: usize = 8;

#[cfg(test)]
impl Transform {
    /// With session keys as they are given, and any authentication key.
    pub(super) fn counter_of(key: &[u8], salt: &[u8]) -> Self {
        let mut own = Zeroizing::new([0; 14]);
        own.copy_from_slice(salt);
        Self::Counter { cipher: aes_128(key), salt: own, authentication: hmac_key(&[0; 20]), tag_len: 10 }
    }

    /// With session keys as they are given.
    pub(super) fn gcm_of(key: &[u8], salt: &[u8]) -> Self {
        let algorithm = if key.len() == 32 { &AES_256_GCM } else { &AES_128_GCM };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key).expect("a key"));
        let mut own = Zeroizing::new([0; 12]);
        own.copy_from_slice(salt);
        Self::Gcm { key, salt: own }
    }
}
