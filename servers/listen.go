// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/quartet-go/quartet/reactor"
)

// receiveBuffer is what the kernel is asked to keep of datagrams that come faster than they are answered. Linux grants at
// most net.core.rmem_max, and counts twice as much for its bookkeeping (socket(7)).
const receiveBuffer = 4 << 20

// An endpoint is where to listen: the URL network://address.
type endpoint struct {
	network, address string
	socket           *reactor.Socket // given to the process, nil to be bound
}

var errEndpoint = errors.New("want tcp://host:port, tcp4://, tcp6://, udp://, udp4://, udp6:// or unix://path")

func parseEndpoint(url string) (endpoint, error) {
	network, address, _ := strings.Cut(url, "://")
	e := endpoint{network: network, address: address}
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return e, errEndpoint
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return e, fmt.Errorf("port %q is not a number from 0 to 65535", port)
		}
		return e, nil
	case "unix":
		if address != "" {
			return e, nil
		}
	}
	return e, errEndpoint
}

// kind returns tcp, udp or unix.
func (e endpoint) kind() string { return strings.TrimRight(e.network, "46") }

// privileged says whether the port is one of those that are kept for root.
func (e endpoint) privileged() bool {
	_, port, _ := net.SplitHostPort(e.address)
	n, err := strconv.Atoi(port)
	return e.kind() != "unix" && err == nil && n < 1024
}

// listen opens all listeners, or none, and only then logs: a listener that cannot be had is told in the one line of the
// error.
func listen(r *reactor.Reactor, cfg *config, log *slog.Logger) (listeners []*reactor.Listener, err error) {
	for _, e := range cfg.endpoints {
		lis, err := listenOn(r, e, cfg, log)
		if errors.Is(err, syscall.EACCES) && e.privileged() {
			err = fmt.Errorf("%w (a port below 1024 needs root or CAP_NET_BIND_SERVICE)", err)
		}
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, lis)
	}
	for i, lis := range listeners {
		if cfg.endpoints[i].kind() == "udp" {
			log.Info("receive buffer", "listener", lis.String(), "asked", receiveBuffer, "got", lis.Granted().RecvBuffer)
		}
	}
	return listeners, nil
}

func listenOn(r *reactor.Reactor, e endpoint, cfg *config, log *slog.Logger) (*reactor.Listener, error) {
	if e.kind() == "udp" {
		opts := reactor.PacketOptions{RecvBuffer: receiveBuffer}
		if e.socket != nil {
			return r.ListenPacketFiles(e.socket.Files, cfg.service.datagram, &opts)
		}
		return r.ListenPacket(e.network, e.address, cfg.service.datagram, &opts)
	}
	opts := cfg.stream
	opts.ReusePort = opts.ReusePort && e.kind() == "tcp"
	accept := traced(cfg.service.stream(cfg, log), log)
	if e.socket != nil {
		return r.ListenFiles(e.socket.Files, accept, &opts)
	}
	return r.Listen(e.network, e.address, accept, &opts)
}

// defaultEndpoints is where a service listens that was not told: never on a unix path.
func (s *service) defaultEndpoints() (list []endpoint) {
	for _, network := range []string{"tcp", "udp"} {
		if slices.Contains(s.networks, network) {
			list = append(list, endpoint{network: network, address: "127.0.0.1:1060"})
		}
	}
	return list
}
