// A Kubernetes control plane for the tests: etcd, API server, controllers and scheduler of the real Kubernetes, and
// kwok, which says of every pod that it is ready. One program, one process for each part.
//
// The script `run` builds it and calls `with`; `with` (with.go) starts the parts (plane.go), each a subcommand here.
package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

const usage = `usage: hms-kubernetes with [COMMAND ARG...]

Starts a control plane on loopback, runs COMMAND with OPS_TEST_KUBECONFIG set, ends the control plane and exits with
the code of COMMAND. Without COMMAND it says where the kubeconfig is and stays until Ctrl-C.`

// The thread of init is the one of main. A signal at the death of a parent belongs to a thread, and this one lives as
// long as the process.
func init() { runtime.LockOSThread() }

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	part, arguments := os.Args[1], os.Args[2:]
	// When whoever started this is gone, by kill -9 perhaps, nobody needs it any more. `with` still tidies up.
	end := syscall.SIGKILL
	if part == "with" {
		end = syscall.SIGTERM
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(end), 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "the end of the parent will not be noticed:", err)
	}
	switch part {
	case "with":
		os.Exit(with(arguments))
	case "etcd":
		os.Exit(etcd(arguments))
	case "apiserver":
		os.Exit(run(apiserver.NewAPIServerCommand(), arguments))
	case "controllers":
		os.Exit(run(controllers.NewControllerManagerCommand(), arguments))
	case "scheduler":
		os.Exit(run(scheduler.NewSchedulerCommand(), arguments))
	case "kwok":
		os.Exit(kwok(arguments))
	default:
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
}

func run(command *cobra.Command, arguments []string) int {
	command.SetArgs(arguments)
	return cli.Run(command)
}
