package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// How long a part may take to answer for the first time.
const patience = time.Minute

// What is needed to move Deployments and StatefulSets, to have an HPA raise replicas, and to give namespaces their
// ServiceAccount.
const controllerNames = "deployment,replicaset,statefulset,horizontalpodautoscaling,garbagecollector," +
	"serviceaccount,namespace"

// A running control plane. All that it keeps is in one scratch directory, which goes with it.
type plane struct {
	dir        string
	server     string
	kubeconfig string
	parts      []part
	// Names of parts that have ended.
	ended     chan string
	interrupt <-chan os.Signal
}

type part struct {
	process *os.Process
	done    chan struct{}
}

func startPlane(interrupt <-chan os.Signal) (*plane, error) {
	dir, err := os.MkdirTemp("", "hms-kubernetes-")
	if err != nil {
		return nil, err
	}
	p := &plane{dir: dir, kubeconfig: filepath.Join(dir, "kubeconfig"), ended: make(chan string, 16), interrupt: interrupt}
	if err := p.start(); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func (p *plane) start() error {
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	etcdClients, etcdPeers, port := ports[0], ports[1], ports[2]
	p.server = "https://127.0.0.1:" + port
	token, err := p.writeSecrets()
	if err != nil {
		return err
	}
	if err := p.launch("etcd", p.path("etcd"), etcdClients, etcdPeers); err != nil {
		return err
	}
	// The API server gives up if it finds nobody there.
	if err := p.until("etcd", func() error { return dial(etcdClients) }); err != nil {
		return err
	}
	flags := p.apiserverFlags("http://127.0.0.1:" + etcdClients)
	if err := p.launch("apiserver", append(flags, "--secure-port="+port)...); err != nil {
		return err
	}
	if err := p.writeAnotherAPIServer(flags); err != nil {
		return err
	}
	var client *kubernetes.Clientset
	if err := p.until("apiserver", func() error {
		client, err = p.connect(token)
		return err
	}); err != nil {
		return err
	}
	if err := addNode(client); err != nil {
		return fmt.Errorf("making the node: %w", err)
	}
	return p.startOthers()
}

// startOthers starts those that only need the API server; nobody waits for them but the tests, by what they do.
func (p *plane) startOthers() error {
	kubeconfig := "--kubeconfig=" + p.kubeconfig
	key := "--service-account-private-key-file=" + p.path("accounts.key")
	for _, of := range [][]string{
		{"controllers", kubeconfig, key, "--controllers=" + controllerNames, "--leader-elect=false", "--secure-port=0"},
		{"scheduler", kubeconfig, "--leader-elect=false", "--secure-port=0"},
		{"kwok", p.kubeconfig},
	} {
		if err := p.launch(of[0], of[1:]...); err != nil {
			return err
		}
	}
	return nil
}

func (p *plane) path(name string) string { return filepath.Join(p.dir, name) }

func (p *plane) apiserverFlags(etcd string) []string {
	return []string{
		"--etcd-servers=" + etcd,
		"--cert-dir=" + p.path("certificates"),
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		// Nobody looks for `kubernetes.default.svc`, and a second API server would fight for it.
		"--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=10.0.0.0/24",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + p.path("accounts.pub"),
		"--service-account-signing-key-file=" + p.path("accounts.key"),
		"--authorization-mode=RBAC",
		"--token-auth-file=" + p.path("tokens.csv"),
	}
}

// writeAnotherAPIServer leaves a script `another-apiserver PORT` beside the kubeconfig: one more API server on the
// same etcd with the same certificate, for tests that kill one while others work.
func (p *plane) writeAnotherAPIServer(flags []string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	quoted := []string{"exec", quote(program), "apiserver"}
	for _, flag := range flags {
		quoted = append(quoted, quote(flag))
	}
	text := "#!/bin/sh\n" + strings.Join(quoted, " ") + " --secure-port=\"$1\"\n"
	return os.WriteFile(p.path("another-apiserver"), []byte(text), 0o700)
}

func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// writeSecrets makes the key pair of service account tokens and the token of the administrator, which it returns.
func (p *plane) writeSecrets() (string, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return "", err
	}
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		return "", err
	}
	token := hex.EncodeToString(secret)
	private := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return token, errors.Join(
		os.WriteFile(p.path("accounts.key"), pem.EncodeToMemory(private), 0o600),
		os.WriteFile(p.path("accounts.pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o600),
		os.WriteFile(p.path("tokens.csv"), []byte(token+",admin,admin,system:masters\n"), 0o600),
	)
}

// connect writes the administrator's kubeconfig and asks by it whether the API server is ready. Each try reads the
// certificate anew: the API server makes the file before it fills it, and nobody can be trusted by an empty one.
func (p *plane) connect(token string) (*kubernetes.Clientset, error) {
	certificate, err := os.ReadFile(filepath.Join(p.path("certificates"), "apiserver.crt"))
	if err != nil {
		return nil, err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: p.server, CertificateAuthorityData: certificate}
	config.AuthInfos["admin"] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "admin", Namespace: "default"}
	config.CurrentContext = "test"
	if err := clientcmd.WriteToFile(*config, p.kubeconfig); err != nil {
		return nil, err
	}
	rest, err := clientcmd.BuildConfigFromFlags("", p.kubeconfig)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return nil, err
	}
	return client, client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(context.Background()).Error()
}

// addNode makes the one node, with room for every pod of the tests.
func addNode(client *kubernetes.Clientset) error {
	room := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("1000"),
		corev1.ResourceMemory: resource.MustParse("1000Gi"),
		corev1.ResourcePods:   resource.MustParse("10000"),
	}
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n0", Labels: map[string]string{"kubernetes.io/hostname": "n0"}},
		Status:     corev1.NodeStatus{Capacity: room, Allocatable: room},
	}
	nodes := client.CoreV1().Nodes()
	if _, err := nodes.Create(context.Background(), node, metav1.CreateOptions{}); err != nil {
		return err
	}
	// Every new node gets a taint that the node lifecycle controller would take away when it is ready.
	untainted := []byte(`{"spec":{"taints":null}}`)
	_, err := nodes.Patch(context.Background(), "n0", "application/merge-patch+json", untainted, metav1.PatchOptions{})
	return err
}

// launch starts a subcommand of this program, its output in a file of its name.
func (p *plane) launch(name string, arguments ...string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.Create(p.path(name + ".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	command := exec.Command(program, append([]string{name}, arguments...)...)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		// Ctrl-C is ours; we end them in order.
		Setpgid: true,
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	started := part{process: command.Process, done: make(chan struct{})}
	p.parts = append(p.parts, started)
	go func() {
		_ = command.Wait()
		close(started.done)
		p.ended <- name
	}()
	return nil
}

// until tries again until it succeeds, the part has ended or it took too long.
func (p *plane) until(part string, try func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not answer: %w; the end of its log:\n%s", part, err, p.tail(part))
		}
		select {
		case name := <-p.ended:
			return fmt.Errorf("%s has ended; the end of its log:\n%s", name, p.tail(name))
		case <-p.interrupt:
			return errors.New("interrupted")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tail is the end of what a part wrote.
func (p *plane) tail(part string) string {
	text, err := os.ReadFile(p.path(part + ".log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// stop ends the parts, the last first, and removes what they kept. What is in memory only need not be given up in
// order. With OPS_TEST_KEEP in the environment the directory stays, for its logs.
func (p *plane) stop() {
	for i := len(p.parts) - 1; i >= 0; i-- {
		_ = p.parts[i].process.Kill()
		<-p.parts[i].done
	}
	if os.Getenv("OPS_TEST_KEEP") != "" {
		fmt.Fprintln(os.Stderr, "kubernetes: kept", p.dir)
		return
	}
	if err := os.RemoveAll(p.dir); err != nil {
		fmt.Fprintln(os.Stderr, "kubernetes:", err)
	}
}

func dial(port string) error {
	connection, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err == nil {
		err = connection.Close()
	}
	return err
}

// freePorts finds ports of loopback that nobody has now.
func freePorts(count int) ([]string, error) {
	var ports []string
	for range count {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		// All are held until all are found, so that they differ.
		defer listener.Close()
		_, port, err := net.SplitHostPort(listener.Addr().String())
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}
