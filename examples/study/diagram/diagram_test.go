// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const folder = "../../../docs/course/diagrams"

func TestPicturesAreThoseOfTheirTexts(t *testing.T) {
	texts, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	require.NoError(t, err)
	require.NotEmpty(t, texts)
	for _, name := range texts {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		svg, err := Render(string(text))
		require.NoError(t, err, name)
		there, err := os.ReadFile(strings.TrimSuffix(name, ".txt") + ".svg")
		require.NoError(t, err)
		require.True(t, bytes.Equal(svg, there), "%s is not up to date: go run ./examples/study/diagram docs/course/diagrams/*.txt", name)

		for dec := xml.NewDecoder(strings.NewReader(string(svg))); ; {
			if _, err := dec.Token(); errors.Is(err, io.EOF) {
				break
			} else {
				require.NoError(t, err, name)
			}
		}
	}
	pictures, err := filepath.Glob(filepath.Join(folder, "*.svg"))
	require.NoError(t, err)
	require.Len(t, pictures, len(texts), "pictures without a text")
}

func TestMistakesAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"circle of life":                        `kind "circle": it is sequence, states or rows`,
		"sequence x\nactor a A\na -> b: hello":  `no actor "b"`,
		"sequence x\nactor a A\na jumps":        `no step of a sequence: "a jumps"`,
		"states x\nnote a 0 0 A\na -> b: hello": `no arrow can be drawn from "a" to "b"`,
		"states x\nnote a":                      `no state: "note a": EOF`,
		"rows x\nnote 1":                        `"note 1": `,
		"rows x\ncolumn":                        `no row: "column"`,
	} {
		_, err := Render(text)
		require.Error(t, err, text)
		require.Contains(t, err.Error(), want, text)
	}
}

func TestTextIsEscaped(t *testing.T) {
	svg, err := Render("rows a < b\nrow c & d\nnote 0 9 \"e\"")
	require.NoError(t, err)
	require.Contains(t, string(svg), "<title>a &lt; b</title>")
	require.Contains(t, string(svg), "c &amp; d")
}
