//! A certificate that the host has given: loaded anew when its files change, which hurts no connection.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    sign::CertifiedKey,
};

use super::{Shown, TlsError, certified, fingerprint};

/// How often the files are looked at: whoever puts a new certificate there doesn't wait for it.
const EVERY: Duration = Duration::from_secs(3);

/// The files of a certificate, with the chain that vouches for it, and of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate first, then those that vouch for it, as PEM.
    pub certificate: PathBuf,
    /// The private key, as PEM.
    pub key: PathBuf,
}

impl Files {
    pub(super) fn load(&self) -> Result<CertifiedKey, TlsError> {
        let read = |path: &Path| {
            fs::read(path).map_err(|error| TlsError::Unreadable(path.to_owned(), error))
        };
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(&read(&self.certificate)?).collect();
        let chain = chain.and_then(|chain| match chain.is_empty() {
            true => Err(pem::Error::NoItemsFound),
            false => Ok(chain),
        });
        let chain =
            chain.map_err(|error| TlsError::NoCertificate(self.certificate.clone(), error))?;
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?)
            .map_err(|error| TlsError::NoKey(self.key.clone(), error))?;
        certified(chain, key).map_err(|why| TlsError::Unfit { files: self.clone(), why })
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp([&self.certificate, &self.key].map(|path| fs::metadata(path).ok().map(Mark::from)))
    }
}

/// By which one sees that files are others than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp([Option<Mark>; 2]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl From<Metadata> for Mark {
    fn from(file: Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
        }
    }
}

/// Looks after the files of a certificate.
#[derive(Debug)]
pub struct Watch {
    files: Files,
    /// What was made of the files as they were then is settled.
    settled: Stamp,
    /// The last look.
    seen: Stamp,
    shown: Arc<Shown>,
}

impl Watch {
    pub(super) fn new(files: Files, settled: Stamp, shown: Arc<Shown>) -> Self {
        Self { files, settled, seen: settled, shown }
    }

    /// Looks every few seconds, for as long as it is polled.
    pub async fn keep_looking(mut self) {
        loop {
            tokio::time::sleep(EVERY).await;
            // A file system may keep one waiting for long.
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            match looked.await {
                Ok(watch) => self = watch,
                Err(error) => {
                    tracing::error!(%error, "the certificate is no longer looked after");
                    return;
                }
            }
        }
    }

    /// Loads the files anew if they have changed and then stayed as they are for one look: two files
    /// can't be replaced at once.
    pub(crate) fn look(&mut self) {
        let now = self.files.stamp();
        let stayed = std::mem::replace(&mut self.seen, now) == now;
        if now == self.settled || !stayed {
            return;
        }
        self.settled = now;
        match self.files.load() {
            Ok(certified) => {
                let (before, now) = (fingerprint(&self.shown.now()), fingerprint(&certified));
                self.shown.set(certified);
                if before == now {
                    tracing::info!("newcomers are shown the new certificate");
                } else {
                    tracing::warn!(
                        fingerprint = %now,
                        "the line has another key; those who remember the one before have to forget it"
                    );
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the new certificate can't be used; the one before stays");
            }
        }
    }
}
