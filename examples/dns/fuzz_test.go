// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// Whatever arrives: a response is one, to the same ID, can be read, and is no longer than the network's bound; and the
// same whether or not it is packed over the query.
func FuzzAnswer(f *testing.F) {
	z, err := readZones(strings.NewReader(exampleZone), "example.zone")
	require.NoError(f, err)
	for _, name := range []string{"www.example.test.", "more.example.test.", "nobody.example.test.", `a\.b\000.example.test.`, "."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeTXT, dns.TypeANY} {
			query := new(dns.Msg).SetQuestion(name, qtype)
			query.Id = 4711
			plain, err := query.Pack()
			require.NoError(f, err)
			f.Add(plain, true)
			extended, err := query.SetEdns0(1000, true).Pack()
			require.NoError(f, err)
			f.Add(extended, false)
		}
	}
	f.Fuzz(func(t *testing.T, message []byte, udp bool) {
		apart := z.answer(message, nil, udp)
		inPlace := make([]byte, 1<<16)
		got := z.answer(inPlace[:copy(inPlace, message)], inPlace, udp)
		require.Equal(t, apart, got)
		if got == nil {
			return
		}
		require.LessOrEqual(t, len(got), dns.MaxMsgSize)
		if udp {
			require.LessOrEqual(t, len(got), maxUDP)
		}
		require.True(t, bytes.Equal(message[:2], got[:2]))
		var r dns.Msg
		require.NoError(t, r.Unpack(got))
		require.True(t, r.Response)
		require.Nil(t, z.answer(got, nil, udp))
	})
}
