// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package udpreply_test

import (
	"context"
	"log"

	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/servers/udpreply"
)

func Example() {
	r, err := reactor.New(reactor.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := r.ListenPacket("udp", ":1060", reactor.PacketFunc(udpreply.Datagram), nil); err != nil {
		log.Fatal(err)
	}
	log.Println(r.Serve(context.Background()))
}
