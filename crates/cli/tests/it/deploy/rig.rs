//! A project that is deployed into the machine's Docker engine, and everything that is removed
//! afterwards.

use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use testing::{FakeModel, Reply, Request, TempProject, rigs};

use crate::http::get;
use crate::support::{Ended, flowmill};

/// Runs `docker`, which must succeed; its output.
#[track_caller]
pub(super) fn docker<'a>(arguments: impl IntoIterator<Item = &'a str>) -> String {
    let arguments: Vec<&str> = arguments.into_iter().collect();
    let output = Command::new("docker")
        .args(&arguments)
        .output()
        .expect("docker is installed");
    assert!(
        output.status.success(),
        "docker {arguments:?}:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Words of a `docker` command line without quoting.
#[track_caller]
pub(super) fn docker_line(line: &str) -> String {
    docker(line.split_whitespace())
}

/// A port that nobody listens on now.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A deployment's name, port and project. Whatever of it there is goes away on drop.
pub(super) struct Deployment {
    pub(super) project: TempProject,
    pub(super) name: String,
    pub(super) port: u16,
    pub(super) url: String,
    program: PathBuf,
}

impl Deployment {
    /// `None` where there is no engine.
    pub(super) fn of(project: TempProject) -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let program = rigs::static_program()?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let port = free_port();
        Some(Self {
            project,
            name: format!("flowmill-test-{}-{count}", std::process::id()),
            port,
            url: format!("http://127.0.0.1:{port}"),
            program,
        })
    }

    /// `flowmill deploy FILE` into the folder `package`.
    pub(super) fn command(&self, file: &Path, options: &str) -> Command {
        let mut command = flowmill(self.project.root(), ["deploy"]);
        command
            .arg(file)
            .args(["--name", &self.name, "--port", &self.port.to_string()])
            .args(["--output-dir", "package", "--format", "json", "--binary"])
            .arg(&self.program)
            .args(options.split_whitespace());
        command
    }

    /// The same, done. Its document.
    #[track_caller]
    pub(super) fn deploy(&self, file: &Path, options: &str) -> Value {
        Ended::of(&mut self.command(file, options)).exits(0).json()
    }

    /// A field of the container, as `docker inspect` formats it.
    #[track_caller]
    pub(super) fn inspect(&self, format: &str) -> String {
        docker(["inspect", "--format", format, &self.name])
    }

    /// What the container has said.
    pub(super) fn logs(&self) -> String {
        let output = Command::new("docker")
            .args(["logs", &self.name])
            .output()
            .expect("docker");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Waits until it takes requests.
    pub(super) async fn ready(&self) {
        let waiting = async {
            while !self.is_ready().await {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(crate::support::PATIENCE, waiting).await;
        assert!(waited.is_ok(), "it is not ready:\n{}", self.logs());
    }

    async fn is_ready(&self) -> bool {
        let answer = crate::http::client()
            .get(format!("{}/health/ready", self.url))
            .send()
            .await;
        answer.is_ok_and(|answer| answer.status() == 200)
    }

    /// A job's end.
    pub(super) async fn ended(&self, id: &str) -> Value {
        let job = crate::http::call(
            reqwest::Method::GET,
            format!("{}/jobs/{id}", self.url),
            Some("wait=50"),
            None,
        )
        .await
        .1;
        assert!(
            job["completed_at"].is_string(),
            "it goes on: {job}\n{}",
            self.logs()
        );
        job
    }

    /// A job as it stands.
    pub(super) async fn job(&self, id: &str) -> Value {
        get(format!("{}/jobs/{id}", self.url)).await.1
    }

    /// Takes it down as a user would, with its jobs.
    #[track_caller]
    pub(super) fn undeploy(self) {
        let line = ["undeploy", &self.name, "--volumes"];
        Ended::of(&mut flowmill(self.project.root(), line)).exits(0);
        let names = docker_line("ps --all --format {{.Names}}");
        assert!(!names.lines().any(|name| name == self.name), "{names}");
        let volumes = docker_line("volume ls --format {{.Name}}");
        assert!(!volumes.contains(&self.name), "{volumes}");
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        let quietly = |line: &str| {
            let _ = Command::new("docker")
                .args(line.split_whitespace())
                .output();
        };
        let name = &self.name;
        quietly(&format!("rm --force --volumes {name} {name}-before"));
        quietly(&format!("volume rm {name}-data {name}-mlflow"));
        // By their label, too: one that was replaced has lost its name.
        let label = format!("label=io.flowmill.deployment={name}");
        let named = docker(["images", "--quiet", name]);
        let labelled = docker(["images", "--quiet", "--filter", &label]);
        for image in named.lines().chain(labelled.lines()) {
            quietly(&format!("image rm --force {image}"));
        }
    }
}

/// This machine's address on the engine's bridge: the one it would ask a container from.
pub(super) fn bridge() -> IpAddr {
    let format = "{{range .IPAM.Config}}{{println .Subnet}}{{end}}";
    let subnets = docker(["network", "inspect", "--format", format, "bridge"]);
    let subnet = subnets
        .lines()
        .find(|subnet| subnet.contains('.'))
        .expect("a subnet of IPv4");
    let base: Ipv4Addr = subnet
        .split('/')
        .next()
        .and_then(|base| base.parse().ok())
        .expect("an address");
    let somebody = Ipv4Addr::from_bits(base.to_bits() + 250);
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // Nothing is sent: this only asks for the way.
    socket
        .connect((somebody, 9))
        .expect("there is a way to the bridge");
    socket.local_addr().expect("it is connected").ip()
}

/// A model that containers can reach, and the file of variables that names it.
pub(super) fn model(
    project: &TempProject,
    answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> FakeModel {
    let host = bridge();
    let model = FakeModel::answering_at(host, answer);
    project.write(
        "keys.env",
        format!(
            "OPENAI_API_KEY={SECRET}\nOPENAI_BASE_URL=http://host.docker.internal:{}/v1\n",
            model.address().port()
        ),
    );
    model
}

/// A key that has no business anywhere but in a request to the model.
pub(super) const SECRET: &str = "sk-4f1c9a-this-is-secret";
