package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	node "sigs.k8s.io/kwok/kustomize/stage/node/fast"
	pod "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
	"sigs.k8s.io/kwok/pkg/apis/internalversion"
	"sigs.k8s.io/kwok/pkg/client/clientset/versioned"
	"sigs.k8s.io/kwok/pkg/config"
	"sigs.k8s.io/kwok/pkg/kwok/controllers"
	"sigs.k8s.io/kwok/pkg/utils/client"
)

// kwok plays the kubelet of every node until it is told to end: each pod is reported as running and ready, and let go
// when it is deleted. It is kwok's own controller, without the server for logs and shells that its program adds.
func kwok(arguments []string) int {
	if len(arguments) != 1 {
		fmt.Fprintln(os.Stderr, "usage: kwok KUBECONFIG")
		return 2
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := playKubelet(ctx, arguments[0]); err != nil {
		fmt.Fprintln(os.Stderr, "kwok:", err)
		return 1
	}
	<-ctx.Done()
	return 0
}

func playKubelet(ctx context.Context, kubeconfig string) error {
	stages := make(map[internalversion.StageResourceRef][]*internalversion.Stage)
	// It looks after no pod whose node it does not look after.
	for _, text := range []string{node.DefaultNodeInit, pod.DefaultPodReady, pod.DefaultPodDelete} {
		stage, err := config.UnmarshalWithType[*internalversion.Stage](text)
		if err != nil {
			return err
		}
		stages[stage.Spec.ResourceRef] = append(stages[stage.Spec.ResourceRef], stage)
	}
	clients, err := client.NewClientset("", kubeconfig)
	if err != nil {
		return err
	}
	restConfig, err := clients.ToRESTConfig()
	if err != nil {
		return err
	}
	dynamic, err := clients.ToDynamicClient()
	if err != nil {
		return err
	}
	mapper, err := clients.ToRESTMapper()
	if err != nil {
		return err
	}
	restClient, err := rest.RESTClientFor(restConfig)
	if err != nil {
		return err
	}
	typed, err := kubernetes.NewForConfig(restConfig)
	if err != nil {
		return err
	}
	own, err := versioned.NewForConfig(restConfig)
	if err != nil {
		return err
	}
	controller, err := controllers.NewController(controllers.Config{
		Clock:                      clock.RealClock{},
		DynamicClient:              dynamic,
		RESTClient:                 restClient,
		RESTMapper:                 mapper,
		ImpersonatingDynamicClient: clients.ToImpersonatingDynamicClient(),
		ImpersonatingTypedClient:   clients.ToImpersonatingTypedClient(),
		TypedClient:                typed,
		TypedKwokClient:            own,
		ManageAllNodes:             true,
		LocalStages:                stages,
		// Addresses of pods that nobody ever connects to.
		CIDR:                      "10.0.0.1/8",
		NodeIP:                    "10.0.0.1",
		ID:                        "kwok",
		PodPlayStageParallelism:   4,
		NodePlayStageParallelism:  1,
		PodsOnNodeSyncParallelism: 1,
	})
	if err != nil {
		return err
	}
	return controller.Start(ctx)
}
