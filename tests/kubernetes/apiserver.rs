//! An API server that a test may kill: one more on the etcd of the real control plane, which nobody else needs. Its port
//! stays the same from life to life, and a proxy stands before it.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;

use super::account::{Account, File, client};
use super::proxy::Proxy;
use super::{SOON, real};

/// See the module. Ends when it is dropped.
pub struct ApiServer {
    child: Option<Child>,
    port: u16,
    kubeconfig: PathBuf,
    /// Before it.
    pub proxy: Proxy,
}

impl ApiServer {
    /// Starts one that is ready, and writes a kubeconfig for `account` that leads to it by the proxy.
    pub async fn start(account: &Account, kubeconfig: &Path) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port();
        let proxy = Proxy::start(port).await;
        let url = format!("https://127.0.0.1:{}", proxy.port());
        account.write_kubeconfig(&File::read(&real().unwrap()), Some(&url), kubeconfig);
        let mut server = Self { child: None, port, kubeconfig: kubeconfig.to_owned(), proxy };
        server.run().await;
        server
    }

    /// Starts it, for the first time or again; it is ready when this returns.
    pub async fn run(&mut self) {
        let program = real().unwrap().with_file_name("another-apiserver");
        let mut command = Command::new(&program);
        command.arg(self.port.to_string()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        self.child = Some(child);
        let ready = async {
            // A client of its own each time: nothing of the last life is kept.
            while client(&self.kubeconfig).await.list_core_api_versions().await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(SOON, ready).await.expect("it never serves");
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.kill();
    }
}
