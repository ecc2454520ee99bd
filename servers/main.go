// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Servers is the small internet services of RFC 862 to 868, and three that show framing, as one program:
//
//	servers SERVICE [flags]
//
// Reading order of the files: main.go (the program's life), services.go (what it can serve; each service is a package
// below this folder, for use on any reactor), flags.go, listen.go, log.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/quartet-go/quartet/reactor"
)

// What the program's exit says.
const (
	exitOK     = 0
	exitFailed = 1 // a listener that cannot be had, connections aborted, a second signal
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	// From here on a signal is not the end of the process: what is opened is also closed.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)

	cfg, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return complain(exitUsage, err)
	}
	if cfg.profile != nil {
		if err := pprof.StartCPUProfile(cfg.profile); err != nil {
			return complain(exitFailed, err)
		}
		defer cfg.profile.Close()
		defer pprof.StopCPUProfile()
	}
	log := newLogger(cfg)
	cfg.reactor.Logger = log
	r, err := reactor.New(cfg.reactor)
	if err != nil {
		return complain(exitFailed, err)
	}
	listeners, err := listen(r, cfg, log)
	if err != nil {
		_ = r.Close() // nothing has been served; it removes the socket files of the listeners that could be had
		return complain(exitFailed, err)
	}
	for _, line := range listeners {
		fmt.Println("listening", line)
	}
	return serve(r, log, signals)
}

// complain tells in one line why there will be no service.
func complain(exit int, err error) int {
	fmt.Fprintln(os.Stderr, "servers:", strings.ReplaceAll(err.Error(), "\n", "; "))
	return exit
}

// closeTime bounds what a second signal waits for: that the files of sockets are removed, unless a loop is stuck.
const closeTime = time.Second

// serve runs the reactor. The first signal makes it drain, the second ends it at once.
func serve(r *reactor.Reactor, log *slog.Logger, signals <-chan os.Signal) int {
	ctx, drain := context.WithCancel(context.Background())
	defer drain()
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx) }()
	log.Info("started")

	select {
	case err := <-ended:
		return stopped(log, err)
	case s := <-signals:
		log.Info("stopping", "signal", s.String())
		drain()
	}
	select {
	case err := <-ended:
		return stopped(log, err)
	case s := <-signals:
		log.Warn("stopping at once", "signal", s.String())
	}
	closed := make(chan error, 1)
	go func() { closed <- r.Close() }()
	select {
	case <-closed:
	case <-time.After(closeTime):
	}
	return exitFailed
}

func stopped(log *slog.Logger, err error) int {
	if err != nil {
		log.Error("stopped", "err", err)
		return exitFailed
	}
	log.Info("stopped")
	return exitOK
}
