// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build linux

package main

import (
	"fmt"
	"net"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/quartet-go/quartet/examples/study/internal/study"
	"github.com/quartet-go/quartet/reactor"
)

var servers = map[string]func() *study.Server{
	study.ALoop:      loop,
	study.Goroutines: goroutines,
	study.TheReactor: react,
}

// loop blocks in one place, for all sockets at once.
func loop() *study.Server {
	lis, addr := study.Listen()
	var stopping atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve(lis, &stopping)
	}()
	return study.NewServer(addr, func() {
		stopping.Store(true)
		study.Wake(addr)
		<-done
	})
}

func serve(lis int, stopping *atomic.Bool) {
	ep := study.Must(unix.EpollCreate1(0))
	defer unix.Close(ep)
	defer unix.Close(lis)
	watch(ep, lis, unix.EPOLLIN)
	ready := make([]unix.EpollEvent, 64)
	for asked := 0; !stopping.Load(); {
		n, err := unix.EpollWait(ep, ready, -1) // until one of them is ready
		if err == unix.EINTR {
			continue
		}
		study.Check(err)
		for _, event := range ready[:n] {
			fd := int(event.Fd)
			if fd == lis {
				c, _, err := unix.Accept(lis) // does not wait: somebody is there
				study.Check(err)
				watch(ep, c, unix.EPOLLIN)
			} else if question := study.Recv(fd, 64); question == "" { // nor does this
				unix.Close(fd) // epoll forgets it
			} else {
				asked++
				study.Check(study.SendAll(fd, number(asked)))
			}
		}
	}
}

func watch(ep, fd int, events uint32) {
	study.Check(unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}))
}

func goroutines() *study.Server {
	var asked atomic.Int64
	return study.Go(func(c *net.TCPConn) {
		question := make([]byte, 64)
		for {
			if _, err := c.Read(question); err != nil {
				return
			}
			_, err := c.Write(number(int(asked.Add(1))))
			study.Check(err)
		}
	})
}

func react() *study.Server {
	asked := 0
	answer := reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
		asked++
		_, err := c.Write(number(asked))
		return len(in), err
	})
	return study.React(func(*reactor.Conn) (reactor.Handler, error) { return answer, nil }, nil)
}

func number(n int) []byte { return fmt.Appendf(nil, "you are number %d", n) }
