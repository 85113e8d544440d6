package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// with runs the command beside a control plane and returns its exit code. Whatever ends first (the command, a part
// of the control plane, somebody's patience) ends all of it.
func with(command []string) int {
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	plane, err := startPlane(end)
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubernetes:", err)
		return 1
	}
	defer plane.stop()
	fmt.Fprintf(os.Stderr, "kubernetes: %s, kubeconfig %s\n", plane.server, plane.kubeconfig)
	if len(command) == 0 {
		fmt.Fprintln(os.Stderr, "kubernetes: up until Ctrl-C")
		return plane.wait(end, nil)
	}
	child := exec.Command(command[0], command[1:]...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.Env = append(os.Environ(), "OPS_TEST_KUBECONFIG="+plane.kubeconfig)
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := child.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "kubernetes:", err)
		return 2
	}
	done := make(chan error, 1)
	go func() { done <- child.Wait() }()
	code := plane.wait(end, done)
	if child.ProcessState == nil {
		// It did not end by itself.
		_ = child.Process.Signal(syscall.SIGTERM)
		<-done
	}
	return code
}

// wait returns the exit code of what ends first.
func (p *plane) wait(end <-chan os.Signal, done <-chan error) int {
	select {
	case <-end:
		return 130
	case name := <-p.ended:
		fmt.Fprintf(os.Stderr, "kubernetes: %s has ended; the end of its log:\n%s\n", name, p.tail(name))
		return 1
	case err := <-done:
		var exit *exec.ExitError
		switch {
		case err == nil:
			return 0
		case errors.As(err, &exit) && exit.ExitCode() >= 0:
			return exit.ExitCode()
		default:
			fmt.Fprintln(os.Stderr, "kubernetes: the command:", err)
			return 1
		}
	}
}
