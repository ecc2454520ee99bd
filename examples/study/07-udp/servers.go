// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"errors"
	"fmt"
	"net"
	"sync"
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

func loop() *study.Server {
	fd := bound()
	var stopping atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer unix.Close(fd)
		datagram := make([]byte, 65536)
		for {
			n, from, err := unix.Recvfrom(fd, datagram, 0) // from anybody: there is nobody to wait for in vain
			study.Check(err)
			if stopping.Load() {
				return
			}
			study.Check(unix.Sendto(fd, length(n), 0, from))
		}
	}()
	addr := study.Address(fd)
	return study.NewServer(addr, func() {
		stopping.Store(true)
		c := study.Must(net.Dial("udp", addr))
		study.Must(c.Write(nil)) // wakes it
		c.Close()
		<-done
	})
}

func goroutines() *study.Server {
	socket := study.Must(net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}))
	var wg sync.WaitGroup
	wg.Go(func() {
		datagram := make([]byte, 65536)
		for {
			n, from, err := socket.ReadFromUDPAddrPort(datagram)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			study.Check(err)
			wg.Go(func() { // a goroutine a datagram, as there are no connections
				study.Must(socket.WriteToUDPAddrPort(length(n), from))
			})
		}
	})
	return study.NewServer(socket.LocalAddr().String(), func() {
		socket.Close()
		wg.Wait()
	})
}

func react() *study.Server {
	r := study.Must(reactor.New(reactor.Options{Loops: 1}))
	lis := study.Must(r.ListenPacket("udp", "127.0.0.1:0", reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
		study.Check(d.Reply(length(len(d.Payload)))) // gathered: the answers to a batch leave in one system call
	}), nil))
	return study.NewServer(lis.Addr().String(), study.Serve(r))
}

func length(n int) []byte { return fmt.Appendf(nil, "%d bytes", n) }
