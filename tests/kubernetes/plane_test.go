package main

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// What is read of a certificate while it is being written is not kept for the tries that follow.
func TestACertificateThatIsNotWholeYetIsReadAgain(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	dir := t.TempDir()
	p := &plane{dir: dir, server: server.URL, kubeconfig: filepath.Join(dir, "kubeconfig")}
	if err := os.Mkdir(p.path("certificates"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(certificate []byte) {
		if err := os.WriteFile(filepath.Join(p.path("certificates"), "apiserver.crt"), certificate, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(nil)
	if _, err := p.connect("token"); err == nil {
		t.Fatal("trusted by an empty certificate")
	}
	write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	if _, err := p.connect("token"); err != nil {
		t.Fatal(err)
	}
}
