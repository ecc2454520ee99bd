// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/quartet-go/quartet/reactor"
)

const (
	readyTime = 30 * time.Second      // until a successor must serve
	lookEvery = 10 * time.Millisecond // for connections that are left
)

// handOver starts the program anew, as it is on disk now, with the listeners. When it returns nil the successor serves.
func handOver(parent context.Context, listeners []*reactor.Listener, log *slog.Logger) error {
	ctx, cancel := context.WithTimeoutCause(parent, readyTime, fmt.Errorf("not within %v", readyTime))
	defer cancel()
	path, err := os.Executable()
	if err != nil {
		return err
	}
	successor := exec.Command(path, os.Args[1:]...)
	successor.Args[0] = os.Args[0]
	successor.Stdout, successor.Stderr = os.Stdout, os.Stderr
	if err := reactor.HandOver(ctx, successor, listeners...); err != nil {
		return err
	}
	if parent.Err() != nil { // the signal to stop came when there were already two to be stopped
		_ = successor.Process.Signal(syscall.SIGTERM)
	}
	log.Info("handed over", "successor", successor.Process.Pid)
	go func() { _ = successor.Wait() }() // should it end before this process
	return nil
}

// retire closes the listeners, which the successor has too, and returns when no connection is left or half of the time
// for draining is over: for a client that has connected and not yet asked is not idle, and nobody else would answer it.
func retire(ctx context.Context, r *reactor.Reactor, listeners []*reactor.Listener, drainTimeout time.Duration) {
	for _, lis := range listeners {
		_ = lis.Close()
	}
	ctx, cancel := context.WithTimeout(ctx, drainTimeout/2)
	defer cancel()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for r.NumConns() > 0 {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// take gives the endpoints the sockets that the process was given: each the one at its address, the others what is left
// of their kind, in order. If none were asked for, the sockets are the endpoints.
func take(sockets []reactor.Socket, cfg *config) error {
	left := slices.Clone(sockets)
	give := func(e *endpoint, fits func(reactor.Socket) bool) {
		i := slices.IndexFunc(left, func(s reactor.Socket) bool { return s.Network == e.kind() && fits(s) })
		if e.socket == nil && i >= 0 {
			e.socket = &left[i]
			left = slices.Concat(left[:i], left[i+1:])
		}
	}
	for i := range cfg.endpoints {
		give(&cfg.endpoints[i], func(s reactor.Socket) bool { return cfg.endpoints[i].isAt(s.Addr) })
	}
	for i := range cfg.endpoints {
		give(&cfg.endpoints[i], func(reactor.Socket) bool { return true })
	}
	for _, s := range left {
		switch {
		case !slices.Contains(cfg.service.networks, s.Network):
			return fmt.Errorf("given a socket of %s %v: %s is served over %s only", s.Network, s.Addr, cfg.service.name, strings.Join(cfg.service.networks, ", "))
		case cfg.endpoints != nil:
			return fmt.Errorf("given a socket of %s %v, for which no -listen is left", s.Network, s.Addr)
		}
	}
	for i, s := range left {
		cfg.endpoints = append(cfg.endpoints, endpoint{s.Network, s.Addr.String(), &left[i]})
	}
	return nil
}

// isAt says whether the endpoint's address is a socket's.
func (e endpoint) isAt(addr net.Addr) bool {
	if e.kind() == "unix" {
		return e.address == addr.String()
	}
	want, err := net.ResolveTCPAddr(strings.Replace(e.network, "udp", "tcp", 1), e.address)
	if err != nil {
		return false
	}
	got, err := net.ResolveTCPAddr("tcp", addr.String())
	all := len(want.IP) == 0 || want.IP.IsUnspecified()
	return err == nil && want.Port == got.Port && (want.IP.Equal(got.IP) || all && got.IP.IsUnspecified())
}
