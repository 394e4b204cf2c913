//! What a certificate says that TLS itself does not ask: whose it is (RFC 5922 §7.1) and until when.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::limits::PEER_NAMES_MAX;
use crate::transport::PeerIdentity;

/// The names of a certificate's subject: DNS names, hosts of `sip:` URIs and addresses. A URI with a user part names that
/// user and no host (RFC 5922 §7.1).
pub(crate) fn identity(certificate: &CertificateDer<'_>) -> PeerIdentity {
    let Ok(certificate) = Certificate::from_der(certificate) else { return PeerIdentity::default() };
    let Ok(Some((_, SubjectAltName(names)))) = certificate.tbs_certificate().get_extension() else {
        return PeerIdentity::default();
    };
    let names = names.iter().filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        GeneralName::UniformResourceIdentifier(uri) => {
            let host = uri.as_str().strip_prefix("sip:")?;
            let is_host = host.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'.' | b'-'));
            is_host.then(|| host.to_owned())
        }
        GeneralName::IpAddress(bytes) => address(bytes.as_bytes()).map(|it| it.to_string()),
        GeneralName::OtherName(_)
        | GeneralName::Rfc822Name(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::RegisteredId(_) => None,
    });
    PeerIdentity::new(names.take(PEER_NAMES_MAX))
}

/// The end of a certificate's validity, as time since the Unix epoch.
pub(crate) fn expiry(certificate: &CertificateDer<'_>) -> Option<Duration> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate().validity().not_after.to_unix_duration())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|it| IpAddr::V4(Ipv4Addr::from(it)));
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|it| IpAddr::V6(Ipv6Addr::from(it)))).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType, date_time_ymd};

    use super::*;

    #[test]
    fn a_certificate_shows_its_names_and_its_end() {
        let mut params = CertificateParams::new(["SIP.example.com".to_owned(), "192.0.2.1".to_owned()]).unwrap();
        for uri in ["sip:example.org", "sip:alice@example.net", "https://example.net"] {
            params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        }
        params.not_after = date_time_ymd(2030, 1, 2);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let identity = identity(certificate.der());
        assert_eq!(identity.names().collect::<Vec<_>>(), ["sip.example.com", "192.0.2.1", "example.org"]);
        assert!(identity.is("Sip.Example.Com") && !identity.is("example.com") && !identity.is("example.net"));
        assert_eq!(expiry(certificate.der()), Some(Duration::from_secs(1_893_542_400)));
        assert_eq!(super::identity(&CertificateDer::from(vec![1, 2, 3])), PeerIdentity::default());
    }
}
