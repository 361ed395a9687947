#!/usr/bin/env python3
"""Writes tests/unit/runtime/jinja_cases.json: chat templates written for this test in the manner of the model families, conversations, and what
jinja2 (3.1.6 or later, as transformers sets it up) renders. Needs the PyPI packages jinja2 and transformers; never needed to build or test.

    python3 tests/oracle/jinja_cases.py > tests/unit/runtime/jinja_cases.json
"""
import datetime
import json
import sys

from transformers.utils import chat_template_utils

NOW = 1720000000  # what strftime_now shows; the test sets the same
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather of a \"city\"", "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "e.g. Zürich"}, "unit": {"type": "string", "enum": ["c", "f"]}, "days": {"type": "integer", "default": 3}},
        "required": ["city"]}}},
    {"type": "function", "function": {"name": "add", "description": "Adds", "parameters": {"type": "object", "properties": {
        "a": {"type": "number"}, "list": {"type": "array", "items": {"type": "string"}}}, "required": ["a", "list"]}}},
]
USER = {"role": "user", "content": "  Hi <|im_end|>, \"you\" & é 日本 🤗\n"}
SYSTEM = {"role": "system", "content": "You are terse."}
THOUGHT = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nFine."}
RESULT = {"role": "tool", "name": "get_weather", "tool_call_id": "abcdefghi", "content": "{\"t\": 21.5, \"x\": \"</s>\"}"}


def call(arguments):
    return {"role": "assistant", "content": "", "tool_calls": [{"id": "abcdefghi", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}]}


CONVERSATIONS = {
    "user": [USER],
    "system": [SYSTEM, USER, THOUGHT, {"role": "user", "content": "and\tnow?"}],
    "tools": [SYSTEM, USER, call({"city": "Zürich", "days": 2, "exact": None}), RESULT, {"role": "assistant", "content": "21.5"}, {"role": "user", "content": "thanks"}],
    "open_tool": [USER, call({"city": "Rome"}), RESULT],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "part one"}, {"type": "image"}, {"type": "text", "text": "two"}]}],
    "wrong_order": [USER, USER],
}
# Only for the templates of TOOL_TEMPLATES: two calls at once with their results, reasoning beside the content, documents and variables.
DOCUMENTS = [{"title": "Rome <|im_end|>", "text": "Rome is old.\nVery \"old\"."}, {"title": "Zürich", "text": "日本 🤗", "id": 7}]
TWO_CALLS = {"role": "assistant", "content": None, "reasoning_content": "hm\nyes", "tool_calls": [
    {"id": "call_0", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Rome <s>", "days": 2}}},
    {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": {"a": 1.5, "list": ["x", "é"], "deep": {"k": [True, None]}}}}]}
RESULTS = [{"role": "tool", "tool_call_id": "call_0", "name": "get_weather", "content": "21 °C"}, {"role": "tool", "tool_call_id": "call_1", "name": "add", "content": "[1.5]"}]
TOOL_CONVERSATIONS = {
    "two_calls": [SYSTEM, USER, TWO_CALLS, *RESULTS],
    "after_calls": [USER, TWO_CALLS, *RESULTS, {"role": "assistant", "content": "Done.", "reasoning_content": "so"}, {"role": "user", "content": "again"}],
    "plain": [SYSTEM, USER, {"role": "assistant", "content": "Fine."}, {"role": "user", "content": "more"}],
}
TOOL_EXTRAS = {
    "two_calls": [{"tools": TOOLS}, {"tools": TOOLS, "enable_thinking": False, "thinking": False}],
    "after_calls": [{"tools": TOOLS, "enable_thinking": True, "thinking": True, "reasoning_effort": "high"}],
    "plain": [{}, {"documents": DOCUMENTS}, {"tools": TOOLS, "documents": DOCUMENTS, "custom": {"k": ["v", 2]}}],
}
EXTRAS = {
    "user": [{}], "system": [{}, {"enable_thinking": False}], "tools": [{"tools": TOOLS}], "open_tool": [{"tools": TOOLS}], "parts": [{}], "wrong_order": [{}],
}
FIXED = {"bos_token": "<s>", "eos_token": "</s>", "tools": None, "documents": None}

T = {}
T["chatml"] = """{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
T["chatml_default_system"] = """{% if messages[0].role != 'system' %}
    {{- '<|im_start|>system\\nBe helpful.<|im_end|>\\n' }}
{% endif %}
{%- for m in messages -%}
    {{ '<|im_start|>' ~ m.role ~ '\\n' ~ m.content|trim }}{% if not loop.last or add_generation_prompt %}<|im_end|>
{% endif %}
{%- endfor -%}
{{ '<|im_start|>assistant\\n' if add_generation_prompt }}"""
T["zephyr"] = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""
T["llama_2"] = """{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}{% else %}{% set rest = messages %}{% set system = false %}{% endif %}
{%- for m in rest %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate user/assistant') }}{% endif %}
{%- if loop.index0 == 0 and system != false %}{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + m['content'] %}{% else %}{% set content = m['content'] %}{% endif %}
{%- if m['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif m['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"""
T["llama_3"] = """{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""
T["llama_3_1_tools"] = """{{- bos_token }}
{%- if not date_string is defined %}{% set date_string = strftime_now("%d %b %Y") %}{% endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}{{- "Environment: ipython\\n" }}{% endif %}
{{- "Today: " + date_string + "\\n\\n" }}
{%- if tools is not none %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}{{- raise_exception("one call at a time") }}{%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '{"name": "' + tool_call.name + '", "parameters": ' }}{{- tool_call.arguments | tojson }}{{- "}<|eot_id|>" }}
    {%- else %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}{{- message.content | tojson }}{%- else %}{{- message.content }}{%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"""
T["qwen_2_5_tools"] = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] }}{%- else %}{{- 'Default.' }}{%- endif %}
    {{- "\\n\\n# Tools\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- elif messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}{{- '\\n' + message.content }}{%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}{{- tool_call.arguments | tojson }}{{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' }}{{- message.content }}{{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
T["qwen_3_thinking"] = """{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {%- if message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or reasoning_content) %}
            {{- '<|im_start|>assistant\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>assistant\\n' + content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}{{- '<tool_call>' ~ tool_call.function.name ~ (tool_call.function.arguments if tool_call.function.arguments is string else tool_call.function.arguments | tojson) }}{%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' ~ message.role ~ '\\n' ~ content ~ '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}"""
T["qwen_3_coder_xml"] = """{% macro items_of(mapping, hidden=['type', 'description']) %}
    {%- for key, value in mapping|items %}
        {%- if key not in hidden %}
            {%- set shown = value | tojson | safe if value is mapping or (value is sequence and value is not string) else value | string %}
            {{- '\\n<' ~ key|replace(' ', '_')|lower ~ '>' ~ shown ~ '</' ~ key ~ '>' }}
        {%- endif %}
    {%- endfor %}
{%- endmacro %}
{%- for tool in tools or [] %}
    {%- set f = tool.function %}
    {{- '<function name=' ~ f.name ~ '>' ~ f.description | trim }}
    {%- for name, fields in f.parameters.properties|items %}
        {{- '\\n<parameter ' ~ name ~ ':' ~ fields.type ~ '>' ~ items_of(fields) ~ items_of(fields, hidden=[]) }}
    {%- endfor %}
{%- endfor %}
{%- for message in messages %}
{{ message.role|upper }}:{{ message.content if message.content is string else message.content|length }}
    {%- if message.tool_calls is defined and message.tool_calls is iterable and message.tool_calls | length > 0 %}
        {%- for tool_call in message.tool_calls %}
            {%- for name, value in tool_call.function.arguments|items %}{{- '\\n' ~ name ~ '=' ~ value }}{%- endfor %}
        {%- endfor %}
    {%- endif %}
{%- endfor %}"""
T["mistral_v1"] = """{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"""
T["mistral_v3_tools"] = """{%- if messages[0]["role"] == "system" %}{%- set system_message = messages[0]["content"] %}{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}{{- '"' + key + '": "' + val + '"' }}{%- else %}{{- '"' + key + '": ' + val|tojson }}{%- endif %}
                    {%- if not loop.last %}{{- ", " }}{%- endif %}
                {%- endfor %}
                {{- "}}" }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}{{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}{%- else %}{{- "[INST] " ~ message["content"] ~ "[/INST]" }}{%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}{{- raise_exception("ids have 9 characters") }}{%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" + eos_token }}{%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}{{- " " + message["content"]|trim + eos_token }}
    {%- elif message["role"] == "tool_results" or message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}{%- set content = message.content.content %}{%- else %}{%- set content = message.content %}{%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + content|string + ", " }}{{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- endif %}
{%- endfor %}"""
T["mistral_tekken"] = """{%- set today = strftime_now("%Y-%m-%d") %}
{%- set yesterday = strftime_now("%j") | int - 1 %}
{{- bos_token }}{{- '[SYSTEM_PROMPT]' + (messages[0]['content'] if messages[0]['role'] == 'system' else 'Today is ' ~ today ~ ', day ' ~ yesterday) + '[/SYSTEM_PROMPT]' }}
{%- for message in messages[(1 if messages[0]['role'] == 'system' else 0):] %}
    {%- if message['role'] == 'user' %}
        {%- if message['content'] is string %}{{- '[INST]' + message['content'] + '[/INST]' }}
        {%- else %}{{- '[INST]' }}{%- for block in message['content'] %}{%- if block['type'] == 'text' %}{{- block['text'] }}{%- elif block['type'] in ['image', 'image_url'] %}{{- '[IMG]' }}{%- else %}{{- raise_exception('Only text and image blocks are supported in message content!') }}{%- endif %}{%- endfor %}{{- '[/INST]' }}{%- endif %}
    {%- elif message['role'] == 'assistant' %}{{- message['content'] + eos_token }}
    {%- else %}{{- '[TOOL_RESULTS]' ~ message.content ~ '[/TOOL_RESULTS]' }}{%- endif %}
{%- endfor %}"""
T["gemma"] = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}"""
T["gemma_3"] = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}{%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}{%- else -%}{%- set first_user_prefix = messages[0]['content'][0]['text'] + '\\n\\n' -%}{%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- set role = "model" if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}{%- if item['type'] == 'image' -%}{{ '<start_of_image>' }}{%- elif item['type'] == 'text' -%}{{ item['text'] | trim }}{%- endif -%}{%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{'<start_of_turn>model\\n'}}{%- endif -%}"""
T["phi_3"] = """{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\\n' + message['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"""
T["phi_4"] = """{% for message in messages %}{% if (message['role'] == 'system') %}{{'<|im_start|>system<|im_sep|>' + message['content'] + '<|im_end|>'}}{% elif (message['role'] == 'user') %}{{'<|im_start|>user<|im_sep|>' + message['content'] + '<|im_end|>'}}{% elif (message['role'] == 'assistant') %}{{'<|im_start|>assistant<|im_sep|>'}}{% generation %}{{ message['content'] + '<|im_end|>'}}{% endgeneration %}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"""
T["command_r"] = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% elif false == true %}{% set loop_messages = messages %}{% set system_message = 'x' %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% if system_message != false %}{{ '<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>' + system_message + '<|END_OF_TURN_TOKEN|>' }}{% endif %}{% for message in loop_messages %}{% if message['role'] == 'user' %}{{ '<|START_OF_TURN_TOKEN|><|USER_TOKEN|>' + message['content'].strip() + '<|END_OF_TURN_TOKEN|>' }}{% elif message['role'] == 'assistant' %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>'  + message['content'].strip() + '<|END_OF_TURN_TOKEN|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}"""
T["command_r_tools"] = """{%- macro json_to_python_type(schema) -%}
    {%- set types = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"} -%}
    {%- if schema.type in types -%}{{ types[schema.type] }}
    {%- elif schema.type == "array" -%}{{ "List[" + json_to_python_type(schema['items']) + "]" }}
    {%- elif schema.type == "object" -%}{{- 'Dict' -}}
    {%- else -%}{{- "Any" -}}{%- endif -%}
{%- endmacro -%}
{{ bos_token }}{%- for tool in tools or [] %}
{%- if tool.function is defined %}{% set tool = tool.function %}{% endif %}
```python
def {{ tool.name }}({% for name, field in tool.parameters.properties.items() %}{{ name }}: {% if name not in tool.parameters.required %}Optional[{{ json_to_python_type(field) }}] = None{% else %}{{ json_to_python_type(field) }}{% endif %}{{ ", " if not loop.last else "" }}{% endfor %}):
    \\"\\"\\"{{ tool.description | capitalize }}\\"\\"\\"
    pass
```
{%- endfor %}
{%- for message in messages|rejectattr('role', 'in', ['system', 'tool']) %}{{ '<|' ~ message.role|upper ~ '|>' ~ message.content|default('', true) }}{%- endfor %}"""
T["deepseek_v2"] = """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\\n\\n' }}{% elif message['role'] == 'assistant' %}{{ 'Assistant: ' + message['content'] + eos_token }}{% elif message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"""
T["deepseek_v3"] = """{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='', is_first_sp=true) %}{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}{% set ns.system_prompt = ns.system_prompt + message['content'] %}{% set ns.is_first_sp = false %}{%- else %}{% set ns.system_prompt = ns.system_prompt + '\\n\\n' + message['content'] %}{%- endif %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system_prompt }}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<｜User｜>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and 'tool_calls' in message %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls'] %}{{'<｜Assistant｜>' + message['content'] + '<｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + tool['function']['name'] + '\\n```json\\n' + tool['function']['arguments']|tojson + '\\n```<｜tool▁call▁end｜>'}}{%- endfor %}{{'<｜end▁of▁sentence｜>'}}{%- endif %}{%- if message['role'] == 'assistant' and 'tool_calls' not in message %}{%- if ns.is_tool %}{{'<｜tool▁outputs▁end｜>' + message['content'] + '<｜end▁of▁sentence｜>'}}{%- set ns.is_tool = false -%}{%- else %}{{'<｜Assistant｜>' + message['content'] + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}{{'<｜tool▁outputs▁begin｜>' + message['content']}}{%- set ns.is_output_first = false %}{%- else %}{{'\\n' + message['content']}}{%- endif %}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'<｜tool▁outputs▁end｜>'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜>'}}{% endif %}"""
T["deepseek_r1"] = """{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}<｜User｜>{{ message.content }}{% elif message.role == 'assistant' and message.content is not none %}{% set content = message.content %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}<｜Assistant｜>{{ content }}<｜end▁of▁sentence｜>{% elif message.role == 'system' %}{{ message.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}"""
T["granite"] = """{%- if tools %}{{- '<|start_of_role|>available_tools<|end_of_role|>' }}{%- for tool in tools %}{{- tool | tojson(indent=4) }}{%- if not loop.last %}{{- '\\n\\n' }}{%- endif %}{%- endfor %}{{- '<|end_of_text|>\\n' }}{%- endif %}
{%- for message in messages %}
    {%- if message['role'] == 'system' %}{{- '<|start_of_role|>system<|end_of_role|>' + message['content'] + '<|end_of_text|>\\n' }}
    {%- elif message['role'] == 'tool' %}{{- '<|start_of_role|>tool_response<|end_of_role|>' + message['content'] + '<|end_of_text|>\\n' }}
    {%- else %}{{- '<|start_of_role|>' ~ message['role'] ~ '<|end_of_role|>' ~ message['content'] ~ '<|end_of_text|>\\n' }}{%- endif %}
    {%- if loop.last and add_generation_prompt %}{{- '<|start_of_role|>assistant<|end_of_role|>' }}{%- endif %}
{%- endfor %}"""
T["olmo"] = """{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}{{ '<|system|>\\n' + message['content'] + '\\n' }}{% elif message['role'] == 'user' %}{{ '<|user|>\\n' + message['content'] + '\\n' }}{% elif message['role'] == 'assistant' %}{% if not loop.last %}{{ '<|assistant|>\\n'  + message['content'] + eos_token + '\\n' }}{% else %}{{ '<|assistant|>\\n'  + message['content'] + eos_token }}{% endif %}{% endif %}{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}{% endfor %}"""
T["hermes_tools"] = """{%- macro json_type(spec) %}{%- if spec.type is string %}{{- {"string": "str", "integer": "int", "number": "float"}.get(spec.type, spec.type) }}{%- else %}{{- spec.type|join('|') }}{%- endif %}{%- endmacro %}
{{- '<|im_start|>system\\n<tools> ' }}
{%- for tool in tools or [] %}
    {%- set f = tool.function %}
    {{- '{"type": "function", "function": {"name": "' + f.name + '", "description": "' + f.name + '(' }}
    {%- for name, fields in f.parameters.properties|items %}{{- name + ": " + json_type(fields) }}{%- if not loop.last %}{{- ", " }}{%- endif %}{%- endfor %}
    {{- ')", "parameters": ' }}{%- if f.parameters.properties | length == 0 %}{{- "{}" }}{%- else %}{{- f.parameters|tojson }}{%- endif %}{{- "}}" }}
{%- endfor %}
{{- ' </tools><|im_end|>\\n' }}
{%- for message in messages if message.role != 'system' %}
    {%- if message.role == "tool" %}
        {%- if loop.previtem and loop.previtem.role != "tool" %}{{- '<|im_start|>tool\\n' }}{%- endif %}
        {{- '<tool_response>\\n' ~ message.content }}{{- '\\n</tool_response>' if not loop.last else '' }}{{- '\\n' if not loop.last and loop.nextitem.role == "tool" else '<|im_end|>\\n' }}
    {%- else %}{{- '<|im_start|>' + message.role + '\\n' ~ message.content ~ '<|im_end|>\\n' }}{%- endif %}
{%- endfor %}"""
T["gpt_oss_namespaces"] = """{%- macro render_type(spec, depth=0) -%}
    {%- if spec.type == "array" -%}{{ render_type(spec['items'], depth + 1) + "[]" }}
    {%- elif spec.type == "object" -%}{{- "{\\n" }}{%- for name, prop in spec.properties.items() -%}{{ "  " * depth + name }}{%- if name not in (spec.required or []) %}?{% endif %}: {{ render_type(prop, depth + 1) }}{%- if prop.default is defined %} // default: {{ prop.default }}{% endif %}{{- "," if not loop.last }}{{- "\\n" }}{%- endfor -%}{{- "}" }}
    {%- elif spec.enum is defined -%}{{- spec.enum | map('tojson') | join(' | ') }}
    {%- else -%}{{- spec.type }}{%- endif -%}
{%- endmacro -%}
{%- macro namespace_of(name, tools) -%}{{ "## " + name + "\\n" }}{%- for tool in tools %}{{- "type " + tool.function.name + " = (_: " + render_type(tool.function.parameters) + ") => any;\\n" }}{%- endfor -%}{%- endmacro -%}
{{- "<|start|>system<|message|>Current date: " + strftime_now("%Y-%m-%d") + "<|end|>" -}}
{%- if tools -%}{{ namespace_of("functions", tools) }}{%- endif -%}
{%- for m in messages -%}{{ "<|start|>" + m.role + "<|message|>" ~ m.content ~ "<|end|>" }}{%- endfor -%}
{%- if add_generation_prompt -%}<|start|>assistant{%- endif -%}"""
T["smollm_think"] = """{% set defaults = {'mode': '/think', 'today': strftime_now('%d %B %Y')} %}
{% if enable_thinking is not defined %}{% set enable_thinking = true %}{% endif %}
{% if enable_thinking %}{% set mode = '/think' %}{% else %}{% set mode = '/no_think' %}{% endif %}
{{ '<|im_start|>system\\n' }}
{%- if messages[0].role == "system" -%}
{%- set instructions = messages[0].content.replace('/no_think', '').replace('/think', '').rstrip() -%}
{%- endif -%}
{{ 'Date: ' ~ defaults.today ~ ', ' ~ defaults['mode'] ~ '/' ~ mode ~ '\\n' ~ (instructions or 'none') }}<|im_end|>
{% for message in messages %}
{%- if message.role in ['user', 'assistant'] and message.content is string -%}
{% set body = message.content.partition('</think>') %}{{ message.role }}|{{ body[2] or body[0] }}|{{ body | length }}
{% endif %}
{% endfor %}"""
T["falcon"] = """{% for message in messages %}{% if not loop.first %}{{ '\\n' }}{% endif %}{% if message['role'] == 'system' %}{{ 'System: ' }}{% elif message['role'] == 'user' %}{{ 'User: ' }}{% elif message['role'] == 'assistant' %}{{ 'Falcon: ' }}{% endif %}{{ message['content'] }}{% endfor %}{% if add_generation_prompt %}{{ '\\n' + 'Falcon:' }}{% endif %}"""
T["vicuna"] = """{% set sep = cycler is defined and ' ' or ' ' %}{% for message in messages %}{% if message.role == 'system' %}{{ message.content }}{{ sep }}{% continue %}{% endif %}{% if message.role == 'user' %}USER: {{ message.content|trim }}{{ sep }}{% elif message.role == 'assistant' %}ASSISTANT: {{ message.content }}{{ eos_token }}{% else %}{% break %}{% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"""
T["chatglm"] = """[gMASK]<sop>{% for item in messages %}{% if item['tools'] is defined and item['role'] == 'system' %}{% endif %}{% if item['content'] %}<|{{ item['role'] }}|>{{ item['metadata'] }}
{{ item['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"""
T["nemotron"] = """{{'<extra_id_0>System'}}{% for message in messages if message['role'] == 'system' %}{{'\\n' + message['content'].strip()}}{% endfor %}{% if tools %}{{ '\\n' }}{% for tool in tools %}<tool> {{ tool|tojson(sort_keys=true, separators=(',', ':')) }} </tool>{{ '\\n' }}{% endfor %}{% endif %}{{ '\\n\\n' }}{% for m in messages %}{% if m.role == 'user' %}{{ '<extra_id_1>User\\n' ~ m.content ~ '\\n' }}{% if loop.nextitem is not defined %}{{ '<extra_id_1>Assistant\\n' }}{% endif %}{% elif m.role == 'tool' %}{{ '<extra_id_1>Tool\\n' + m.content + '\\n' }}{% endif %}{% endfor %}"""
T["exaone_blocks"] = """{% set head %}[|system|]{{ messages[0].content if messages[0].role == 'system' else '' }}[|endofturn|]
{% endset %}{{ head }}{% macro turn(who) %}[|{{ who }}|]{{ caller(who|length) }}[|endofturn|]
{% endmacro %}{% for m in messages %}{% call(n) turn(m.role) %}{% filter trim %}  {{ m.content }} ({{ n }})  {% endfilter %}{% endcall %}{% endfor %}{% with last = messages|last, n = messages|length %}{{ last.role }}{{ n }}{{ last is mapping }}{% endwith %}{% raw %}{{ raw }}{% endraw %}"""
T["schema_recursive"] = """{%- for tool in tools or [] recursive -%}
{%- if tool is mapping and tool.function is defined -%}{{ loop.depth }}:{{ tool.function.name }}({{ loop(tool.function.parameters.properties|dictsort) }})
{%- else -%}{{ tool[0] }}={{ tool[1].type }}{{ '?' if 'default' in tool[1] }}{{ loop.cycle(';', ',') }}{%- endif -%}
{%- else -%}no tools{%- endfor %}
{{ messages|map(attribute='role')|unique|sort|join('/') }} {{ messages|groupby('role')|map('first')|list }} {{ (messages|length / 2)|round(1) }} {{ messages|length // 2 }} {{ 7 % 3 ** 2 }} {{ '%-6s|%04d' % ('ab', messages|length) }} {{ messages[-1].content|string|wordcount }} {{ messages[::-2]|map(attribute='role')|list }} {{ [1, 2.0, none, true, 'it\\'s', ('x',)] }}"""

TOOL_TEMPLATES = {}
TOOL_TEMPLATES["deepseek_v3_1_tools"] = """{% if not thinking is defined %}{% set thinking = false %}{% endif %}
{%- set ns = namespace(first=true, system='', tool=false, last_user=false) %}
{%- for m in messages %}{%- if m['role'] == 'system' %}{% set ns.system = ns.system + m['content'] if ns.first else ns.system + '\\n\\n' + m['content'] %}{% set ns.first = false %}{%- endif %}{%- endfor %}
{%- if tools is defined and tools is not none %}{% set tool_ns = namespace(text='## Tools\\nYou have:\\n') %}{% for tool in tools %}{% set tool_ns.text = tool_ns.text + '\\n### ' + tool.function.name + '\\nDescription: ' + tool.function.description + '\\n\\nParameters: ' + (tool.function.parameters | tojson) + '\\n' %}{% endfor %}{% set ns.system = ns.system + '\\n\\n' + tool_ns.text %}{% endif %}
{{- bos_token }}{{ ns.system }}
{%- for m in messages %}
    {%- if m['role'] == 'user' %}{% set ns.tool = false %}{% set ns.last_user = true %}{{ '<|User|>' + m['content'] }}
    {%- elif m['role'] == 'assistant' and m['tool_calls'] is defined and m['tool_calls'] is not none %}
        {%- if ns.last_user %}{{ '<|Assistant|></think>' }}{%- endif %}{% set ns.last_user = false %}{% set ns.first = true %}
        {%- for call in m['tool_calls'] %}
            {%- if ns.first %}{{ (m['content'] or '') + '<|tool_calls_begin|><|tool_call_begin|>' + call['function']['name'] + '<|tool_sep|>' + call['function']['arguments'] | tojson + '<|tool_call_end|>' }}{% set ns.first = false %}
            {%- else %}{{ '<|tool_call_begin|>' + call['function']['name'] + '<|tool_sep|>' + call['function']['arguments'] | tojson + '<|tool_call_end|>' }}{%- endif %}
        {%- endfor %}{{ '<|tool_calls_end|>' + eos_token }}
    {%- elif m['role'] == 'assistant' %}{%- if ns.last_user %}{{ '<|Assistant|>' + ('<think>' if thinking and loop.last else '</think>') }}{%- endif %}{% set ns.last_user = false %}{{ m['content'] + eos_token }}
    {%- elif m['role'] == 'tool' %}{% set ns.last_user = false %}{% set ns.tool = true %}{{ '<|tool_output_begin|>' + m['content'] + '<|tool_output_end|>' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt and ns.last_user and not ns.tool %}{{ '<|Assistant|>' }}{{ '</think>' if not thinking else '<think>' }}{% endif %}"""
TOOL_TEMPLATES["kimi_k2_tools"] = """{%- macro show_content(m) -%}{% if m.content is string %}{{ m.content }}{% elif m.content is not none %}{% for part in m.content %}{{ part['text'] }}{% endfor %}{% endif %}{%- endmacro -%}
{% if tools -%}<|im_system|>tool_declare<|im_middle|>{{ tools | tojson(separators=(',', ':')) }}<|im_end|>{%- endif %}
{%- for m in messages %}
    {%- if loop.first and m['role'] != 'system' %}<|im_system|>system<|im_middle|>You are helpful.<|im_end|>{%- endif %}
    {%- set role_name = m.get('name') or m['role'] %}
    {%- if m['role'] == 'user' %}<|im_user|>{{ role_name }}<|im_middle|>{% elif m['role'] == 'assistant' %}<|im_assistant|>{{ role_name }}<|im_middle|>{% else %}<|im_system|>{{ role_name }}<|im_middle|>{% endif %}
    {%- if m['role'] == 'assistant' and m.get('tool_calls') -%}
        {{ show_content(m) }}<|tool_calls_section_begin|>
        {%- for call in m['tool_calls'] %}<|tool_call_begin|>{{ call['id'] }}<|tool_call_argument_begin|>{% if call['function']['arguments'] is string %}{{ call['function']['arguments'] }}{% else %}{{ call['function']['arguments'] | tojson }}{% endif %}<|tool_call_end|>{%- endfor %}<|tool_calls_section_end|>
    {%- elif m['role'] == 'tool' -%}## Return of {{ m.tool_call_id }}
{{ show_content(m) }}
    {%- elif m['content'] is not none -%}{{ show_content(m) }}{%- endif -%}<|im_end|>
{%- endfor -%}
{%- if add_generation_prompt -%}<|im_assistant|>assistant<|im_middle|>{%- endif -%}"""
TOOL_TEMPLATES["glm_4_5_tools"] = """[gMASK]<sop>
{%- if tools -%}
<|system|>
# Tools
<tools>
{% for tool in tools %}
{{ tool | tojson(ensure_ascii=False) }}
{% endfor %}
</tools>{%- endif -%}
{%- macro visible_text(content) -%}{%- if content is string -%}{{- content }}{%- elif content is iterable and content is not mapping -%}{%- for item in content -%}{%- if item is mapping and item.type == 'text' -%}{{- item.text }}{%- endif -%}{%- endfor -%}{%- else -%}{{- content or '' }}{%- endif -%}{%- endmacro -%}
{%- set ns = namespace(last_user_index=-1) %}{%- for m in messages %}{%- if m.role == 'user' %}{% set ns.last_user_index = loop.index0 -%}{%- endif %}{%- endfor %}
{% for m in messages %}
{%- if m.role == 'user' -%}<|user|>
{{ visible_text(m.content) }}
{{- '/nothink' if (enable_thinking is defined and not enable_thinking and not visible_text(m.content).endswith("/nothink")) else '' -}}
{%- elif m.role == 'assistant' -%}<|assistant|>
{%- set reasoning = m.reasoning_content if m.reasoning_content is string else '' %}
{%- if loop.index0 > ns.last_user_index and reasoning -%}{{ '\\n<think>' + reasoning.strip() + '</think>' }}{%- else -%}{{ '\\n<think></think>' }}{%- endif -%}
{%- if visible_text(m.content).strip() -%}{{ '\\n' + visible_text(m.content).strip() }}{%- endif -%}
{% if m.tool_calls %}{% for tc in m.tool_calls %}{%- if tc.function %}{%- set tc = tc.function %}{%- endif %}
{{ '\\n<tool_call>' + tc.name }}
{% set _args = tc.arguments %}{% for k, v in _args.items() %}
<arg_key>{{ k }}</arg_key>
<arg_value>{{ v | tojson(ensure_ascii=False) if v is not string else v }}</arg_value>
{% endfor %}
</tool_call>{% endfor %}{% endif %}
{%- elif m.role == 'tool' -%}
{%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|observation|>' }}{%- endif %}{{- '\\n<tool_response>\\n' }}{{- m.content }}{{- '\\n</tool_response>' }}
{%- elif m.role == 'system' -%}<|system|>
{{ visible_text(m.content) }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{{- '\\n<think></think>' if (enable_thinking is defined and not enable_thinking) else '' -}}{%- endif -%}"""
TOOL_TEMPLATES["llama_4_tools"] = """{{- bos_token }}
{%- if custom_tools is defined and custom_tools %}{%- set tools = custom_tools %}{%- endif %}
{%- if not tools_in_user_message is defined %}{%- set tools_in_user_message = true %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}{%- if messages[0]['content'] is string %}{%- set system_message = messages[0]['content']|trim %}{%- else %}{%- set system_message = messages[0]['content'][0]['text']|trim %}{%- endif %}{%- set messages = messages[1:] %}{%- set user_supplied = true %}{%- else %}{%- set system_message = "" %}{%- set user_supplied = false %}{%- endif %}
{%- if user_supplied %}{{- "<|header_start|>system<|header_end|>\\n\\n" }}{{- system_message }}{{- "<|eot|>" }}{%- endif %}
{%- if tools_in_user_message and tools is not none %}
    {%- if messages | length != 0 %}{%- set first = messages[0]['content'] if messages[0]['content'] is string else (messages[0]['content'] | selectattr('type', 'equalto', 'text') | map(attribute='text') | join('\\n')) %}{%- set messages = messages[1:] %}{%- else %}{{- raise_exception("no first user message") }}{%- endif %}
    {{- '<|header_start|>user<|header_end|>\\n\\n' -}}
    {%- for t in tools %}{{- t | tojson(indent=4) }}{{- "\\n\\n" }}{%- endfor %}{{- first|trim + "<|eot|>" }}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}{{- '<|header_start|>' + message['role'] + '<|header_end|>\\n\\n' }}{{- message['content'] if message['content'] is string else '' }}{{- "<|eot|>" }}
    {%- elif 'tool_calls' in message and message.tool_calls|length > 0 %}
        {{- '<|header_start|>assistant<|header_end|>\\n\\n' -}}{{- '<|python_start|>' }}{{- message['content'] or '' }}{{- '<|python_end|>' }}
        {%- for tool_call in message.tool_calls %}{{- '{"name": "' + tool_call.function.name + '", ' }}{{- '"parameters": ' }}{{- tool_call.function.arguments | tojson }}{{- "}" }}{%- endfor %}{{- "<|eot|>" }}
    {%- else %}{{- "<|header_start|>ipython<|header_end|>\\n\\n" }}{{- message.content | tojson }}{{- "<|eot|>" }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|header_start|>assistant<|header_end|>\\n\\n' }}{%- endif %}"""
TOOL_TEMPLATES["phi_4_mini_tools"] = """{% for message in messages %}{% if message['role'] == 'system' and tools is not none %}{{ '<|system|>' + message['content'] + '<|tool|>' + tools|tojson + '<|/tool|><|end|>' }}{% elif message['content'] %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"""
TOOL_TEMPLATES["mistral_small_tools"] = """{%- if messages[0]["role"] == "system" %}{%- set system_message = messages[0]["content"] %}{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}
{{- bos_token }}{%- if system_message is defined %}{{- "[SYSTEM_PROMPT]" + system_message + "[/SYSTEM_PROMPT]" }}{%- endif %}
{%- if tools is defined and tools is not none and tools|length > 0 %}{{- "[AVAILABLE_TOOLS]" }}{{- tools|tojson }}{{- "[/AVAILABLE_TOOLS]" }}{%- endif %}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}{{- "[INST]" + message["content"] + "[/INST]" }}
    {%- elif message["role"] == "assistant" %}{%- if message["content"] %}{{- message["content"] }}{%- endif %}{%- if message["tool_calls"] is defined and message["tool_calls"] is not none and message["tool_calls"]|length > 0 %}{%- for tool in message["tool_calls"] %}{%- set arguments = tool["function"]["arguments"] %}{%- if arguments is not string %}{%- set arguments = arguments|tojson|safe %}{%- elif arguments == "" %}{%- set arguments = "{}" %}{%- endif %}{{- "[TOOL_CALLS]" + tool["function"]["name"] + "[ARGS]" + arguments }}{%- endfor %}{%- endif %}{{- eos_token }}
    {%- elif message["role"] == "tool" %}{{- "[TOOL_RESULTS]" + message["content"]|string + "[/TOOL_RESULTS]" }}
    {%- else %}{{- raise_exception("Only user, assistant and tool roles are supported, got " + message["role"] + ".") }}{%- endif %}
{%- endfor %}"""
TOOL_TEMPLATES["minimax_m2_tools"] = """{%- set toolcall_begin = '<minimax:tool_call>' -%}{%- set toolcall_end = '</minimax:tool_call>' -%}
{%- macro render_tools(list) -%}{%- for tool in list -%}
<tool>{{ tool.function | tojson(ensure_ascii=False) }}</tool>
{% endfor -%}{%- endmacro -%}
{%- set ns = namespace(last_user_index=-1) -%}{% for m in messages %}{%- if m.role == 'user' %}{% set ns.last_user_index = loop.index0 -%}{%- endif %}{%- endfor %}
{{- ']~!b[' ~ ']~b]system' ~ '\\n' }}{{- messages[0].content if messages[0].role == 'system' else 'Be useful.' }}
{%- if tools -%}{{- '\\n\\n' ~ '# Tools' ~ '\\n' ~ '<tools>' ~ '\\n' }}{{- render_tools(tools) }}{{- '</tools>' }}{%- endif -%}{{- '[e~[\\n' }}
{%- for message in (messages[1:] if messages[0].role == 'system' else messages) -%}
    {%- if message.role == 'assistant' -%}
        {{- ']~b]ai' ~ '\\n' }}{%- if message.reasoning_content is string and loop.index0 > ns.last_user_index - 1 %}{{- '<think>' ~ '\\n' ~ message.reasoning_content ~ '\\n' ~ '</think>' ~ '\\n\\n' }}{%- endif %}
        {%- if message.content -%}{{- message.content }}{%- endif -%}
        {%- if message.tool_calls -%}{{- '\\n' ~ toolcall_begin ~ '\\n' }}{%- for tool_call in message.tool_calls -%}{%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}{{- '<invoke name="' + tool_call.name + '">' }}{% set _args = tool_call.arguments %}{%- for k, v in _args.items() %}{{- '<parameter name="' + k + '">' }}{{- v | tojson(ensure_ascii=False) if v is not string else v }}{{- '</parameter>' }}{% endfor %}{{- '</invoke>' ~ '\\n' }}{%- endfor -%}{{- toolcall_end }}{%- endif -%}{{- '[e~[' ~ '\\n' }}
    {%- elif message.role == 'tool' -%}{%- if loop.previtem is not defined or loop.previtem.role != 'tool' %}{{- ']~b]tool' }}{%- endif -%}{{- '\\n<response>' ~ message.content ~ '</response>' }}{%- if loop.last or loop.nextitem.role != 'tool' -%}{{- '[e~[\\n' -}}{%- endif -%}
    {%- elif message.role == 'user' -%}{{- ']~b]user' ~ '\\n' }}{{- message.content }}{{- '[e~[' ~ '\\n' }}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- ']~b]ai' ~ '\\n' ~ '<think>' ~ '\\n' }}{%- endif -%}"""
TOOL_TEMPLATES["granite_3_3_documents"] = """{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}{%- set loop_messages = messages[1:] %}{%- else %}{%- set system_message = "Knowledge Cutoff Date: April 2024." %}
    {%- if tools and documents %}{%- set system_message = system_message + " Tools and documents." %}{%- elif tools %}{%- set system_message = system_message + " Tools." %}{%- elif documents %}{%- set system_message = system_message + " Documents." %}{%- elif thinking %}{%- set system_message = system_message + " Think." %}{%- endif %}{%- set loop_messages = messages %}{%- endif %}
{{- '<|start_of_role|>system<|end_of_role|>' + system_message + '<|end_of_text|>\\n' }}
{%- if tools %}{{- '<|start_of_role|>available_tools<|end_of_role|>' }}{{- tools | tojson(indent=4) }}{{- '<|end_of_text|>\\n' }}{%- endif %}
{%- if documents %}{%- for document in documents %}{{- '<|start_of_role|>document {"document_id": "' + document.get('id', loop.index)|string + '"}<|end_of_role|>\\n' }}{{- document['text'] }}{{- '<|end_of_text|>\\n' }}{%- endfor %}{%- endif %}
{%- for message in loop_messages %}{{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + (message['content'] if message['content'] is string else '<|tool_call|>' + message['tool_calls'] | map(attribute='function') | list | tojson) + '<|end_of_text|>\\n' }}
    {%- if loop.last and add_generation_prompt %}{{- '<|start_of_role|>assistant' }}{%- if thinking or controls %}{{- ' ' + {'thinking': thinking, 'controls': controls | default(none)} | tojson }}{%- endif %}{{- '<|end_of_role|>' }}{%- endif %}{%- endfor %}"""
TOOL_TEMPLATES["command_a_documents"] = """{{ bos_token }}{%- macro document_turn(documents) -%}
{{ '<|START_RESPONSE|>' }}{% for doc in documents %}{{ '{"' ~ loop.index0 ~ '": ' ~ doc|tojson ~ '}' }}{% if not loop.last %},
{% endif %}{% endfor %}{{ '<|END_RESPONSE|>' }}{%- endmacro %}
{%- set tool_ids = {} -%}{%- set ns = namespace(n=0) -%}
{%- if messages[0].role == 'system' %}{{ '<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>' + messages[0].content + '<|END_OF_TURN_TOKEN|>' }}{% endif %}
{%- if tools %}
## Available Tools
[
{% for tool in tools %}    {"name": "{{ tool['function']['name'] }}", "description": "{{ tool['function']['description'] }}", "parameters": {{ tool['function']['parameters']|tojson(sort_keys=true) }}, "responses": null}{%- if not loop.last %},{% endif %}

{% endfor %}
]{%- endif %}{%- if documents %}{{ document_turn(documents) }}{%- endif %}
{%- for message in messages %}
    {%- if message.role|lower == 'user' %}<|USER_TOKEN|>{{ message.content }}{%- elif message.role|lower in ('assistant', 'chatbot') %}<|CHATBOT_TOKEN|>{% if message.tool_calls %}{{ '[' }}{% for tc in message.tool_calls %}{{ '{"tool_call_id": "' ~ ns.n ~ '", "tool_name": "' ~ tc['function']['name'] ~ '", "parameters": ' ~ tc['function']['arguments']|tojson ~ '}' }}{% set ns.n = ns.n + 1 %}{% if not loop.last %},{% endif %}{% endfor %}{{ ']' }}{% else %}{{ message.content }}{% endif %}
    {%- elif message.role == 'tool' %}<|SYSTEM_TOKEN|>{{ {'tool_call_id': message.tool_call_id, 'results': {'0': message.content}, 'is_error': none}|tojson }}{%- endif %}{% if not loop.last %}<|END_OF_TURN_TOKEN|>{% endif %}
{%- endfor %}{% if custom is defined %}{{ custom.k|join('+') }}{% endif %}"""
TOOL_TEMPLATES["gpt_oss_harmony"] = """{%- macro render_typescript_type(spec, required) -%}
    {%- if spec.type == "array" -%}{%- if spec['items'] -%}{%- if spec['items']['type'] in ("string", "number", "integer") -%}{{- {"integer": "number"}.get(spec['items']['type'], spec['items']['type']) + "[]" }}{%- else -%}{{- "any[]" }}{%- endif -%}{%- else -%}{{- "any[]" }}{%- endif -%}
    {%- elif spec.type is string and spec.enum -%}{%- for one in spec.enum -%}{{- '"' + one + '"' -}}{%- if not loop.last %}{{- " | " -}}{%- endif -%}{%- endfor -%}
    {%- elif spec.type in ["number", "integer"] -%}{{- "number" }}{%- elif spec.type is defined -%}{{- spec.type }}{%- else -%}{{- "any" }}{%- endif -%}
{%- endmacro -%}
{{- '<|start|>system<|message|>Reasoning: ' + (reasoning_effort if reasoning_effort is defined else 'medium') + '\\n\\n# Valid channels: analysis, commentary, final.<|end|>' }}
{%- if messages[0].role in ('developer', 'system') %}{%- set developer_message = messages[0].content %}{%- set loop_messages = messages[1:] %}{%- else %}{%- set developer_message = '' %}{%- set loop_messages = messages %}{%- endif %}
{%- if developer_message or tools %}{{- '<|start|>developer<|message|>' }}{%- if developer_message %}{{- '# Instructions\\n\\n' + developer_message }}{%- endif %}
    {%- if tools -%}{{- '\\n\\n# Tools\\n\\n## functions\\n\\nnamespace functions {\\n\\n' }}{%- for tool in tools %}{%- set tool = tool.function %}{{- '// ' + tool.description + '\\n' }}{{- 'type ' + tool.name + ' = ' }}{{- '(_: {\\n' }}{%- for param_name, spec in tool.parameters.properties.items() %}{%- if spec.description %}{{- '// ' + spec.description + '\\n' }}{%- endif %}{{- param_name }}{%- if param_name not in (tool.parameters.required or []) -%}{{- '?' }}{%- endif -%}{{- ': ' }}{{- render_typescript_type(spec, tool.parameters.required) }}{%- if spec.default is defined -%}{{- ', // default: ' + spec.default|string }}{%- else %}{{- ',' }}{%- endif %}{{- '\\n' }}{%- endfor %}{{- '}) => any;\\n\\n' }}{%- endfor %}{{- '} // namespace functions' }}{%- endif -%}{{- '<|end|>' }}{%- endif %}
{%- set last_tool_call = namespace(name=none) %}
{%- for message in loop_messages -%}
    {%- if message.role == 'assistant' -%}
        {%- if message.tool_calls %}{%- if message.reasoning_content %}{{- '<|start|>assistant<|channel|>analysis<|message|>' + message.reasoning_content + '<|end|>' }}{%- endif %}{%- for tool_call in message.tool_calls %}{%- set tool_call = tool_call.function %}{{- '<|start|>assistant to=functions.' + tool_call.name + '<|channel|>commentary json<|message|>' }}{{- tool_call.arguments|tojson }}{{- '<|call|>' }}{%- set last_tool_call.name = tool_call.name %}{%- endfor %}
        {%- elif loop.last and not add_generation_prompt %}{{- '<|start|>assistant<|channel|>final<|message|>' + message.content + '<|return|>' }}
        {%- else %}{{- '<|start|>assistant<|channel|>final<|message|>' + message.content + '<|end|>' }}{%- set last_tool_call.name = none %}{%- endif %}
    {%- elif message.role == 'tool' -%}{%- if last_tool_call.name is none %}{{- raise_exception('a tool message without a call before it') }}{%- endif %}{{- '<|start|>functions.' + last_tool_call.name + ' to=assistant<|channel|>commentary<|message|>' + message.content|tojson + '<|end|>' }}
    {%- elif message.role == 'user' -%}{{- '<|start|>user<|message|>' + message.content + '<|end|>' }}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|start|>assistant{%- endif -%}"""


def runs_of(name, text, conversations, all_extras):
    template = chat_template_utils._compile_jinja_template(text)
    template.globals["strftime_now"] = lambda form: datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None).strftime(form)
    runs = []
    for conversation, extras in all_extras.items():
        for extra in extras:
            variables = {"messages": conversations[conversation], "add_generation_prompt": conversation != "system", **FIXED, **extra}
            try:
                result = template.render(**variables)
            except Exception as error:  # what jinja2 refuses must be refused
                print(f"{name}, {conversation}: {error}", file=sys.stderr)
                result = None
            small = {k: v for k, v in extra.items() if k != "tools"}
            runs.append([conversation, "tools" in extra, small, conversation != "system", result])
    return {"name": name, "template": text, "runs": runs}


def main():
    out = {"now_s": NOW, "fixed": FIXED, "tools": TOOLS, "conversations": {**CONVERSATIONS, **TOOL_CONVERSATIONS}, "templates": []}
    out["templates"] = [runs_of(name, text, CONVERSATIONS, EXTRAS) for name, text in T.items()]
    out["templates"] += [runs_of(name, text, TOOL_CONVERSATIONS, TOOL_EXTRAS) for name, text in TOOL_TEMPLATES.items()]
    json.dump(out, sys.stdout, ensure_ascii=False, separators=(",", ":"))
    print()


main()
