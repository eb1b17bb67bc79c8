// Renders a chat template in Go's notation with values of the shape that Ollama gives to one.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"text/template"
)

type function struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters"`
}

type tool struct {
	Type     string   `json:"type"`
	Function function `json:"function"`
}

type call struct {
	Function struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	} `json:"function"`
}

type message struct {
	Role      string `json:"role"`
	Content   string `json:"content"`
	Thinking  string `json:"thinking"`
	ToolCalls []call `json:"tool_calls"`
}

type talk struct {
	Messages []message `json:"messages"`
	Tools    []tool    `json:"tools"`
}

func main() {
	source, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	funcs := template.FuncMap{"json": func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return string(b)
	}}
	t := template.Must(template.New("").Option("missingkey=zero").Funcs(funcs).Parse(string(source)))
	var talks []talk
	if err := json.NewDecoder(os.Stdin).Decode(&talks); err != nil {
		panic(err)
	}
	var texts []string
	for _, one := range talks {
		system := ""
		for _, m := range one.Messages {
			if m.Role == "system" {
				system = m.Content
			}
		}
		out, err := os.CreateTemp("", "render")
		if err != nil {
			panic(err)
		}
		values := map[string]any{"System": system, "Messages": one.Messages, "Tools": one.Tools,
			"Response": "", "Think": false, "IsThinkSet": false}
		if err := t.Execute(out, values); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		out.Close()
		text, err := os.ReadFile(out.Name())
		if err != nil {
			panic(err)
		}
		os.Remove(out.Name())
		texts = append(texts, string(text))
	}
	json.NewEncoder(os.Stdout).Encode(texts)
}
